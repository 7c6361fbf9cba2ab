import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { run } from '@kmend/base/node';
import type { Operator } from './operator.ts';
import { preparedTree } from './tree.ts';

/**
 * A patch of one file of the kernel's tree, made here and now: `edit` gets the file's text, as `onto` has left it.
 * Returns the patch's path.
 */
export async function patchOf(
  operator: Operator,
  path: string,
  edit: (text: string) => string,
  onto: (text: string) => string = (text) => text,
): Promise<string> {
  return await patchIn(operator, { tree: await preparedTree(operator), path }, edit, onto);
}

/** The same for a file of another kernel's `tree`; `path` is inside it. */
export async function patchIn(
  operator: Operator,
  { tree, path }: { readonly tree: string; readonly path: string },
  edit: (text: string) => string,
  onto: (text: string) => string = (text) => text,
): Promise<string> {
  const text = onto(await readFile(join(tree, path), 'utf8'));
  const changed = edit(text);
  assert.notEqual(changed, text, `the edit of ${path} changes nothing`);
  await mkdir(join(operator.home, 'edits'), { recursive: true });
  const directory = await mkdtemp(join(operator.home, 'edits', 'edit-'));
  const source = join(directory, `before-${basename(path)}`);
  await writeFile(source, text);
  const edited = join(directory, basename(path));
  await writeFile(edited, changed);
  const diff = await run('diff', ['-u', '--label', `a/${path}`, '--label', `b/${path}`, source, edited]);
  const patch = join(directory, `edit-${path.replaceAll('/', '-')}.patch`);
  await writeFile(patch, diff.stdout);
  return patch;
}
