import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { run } from '@kmend/base/node';
import { KERNEL } from '../../demo/fixes.ts';
import type { Operator } from '../../demo/operator.ts';

/** A patch of one file of the kernel's tree, made here and now: `edit` gets the file's text. Returns the patch's path. */
export async function patchOf(operator: Operator, path: string, edit: (text: string) => string): Promise<string> {
  const source = join(operator.cache, 'trees', KERNEL, 'source', path);
  const text = await readFile(source, 'utf8');
  const changed = edit(text);
  assert.notEqual(changed, text, `the edit of ${path} changes nothing`);
  await mkdir(join(operator.home, 'edits'), { recursive: true });
  const directory = await mkdtemp(join(operator.home, 'edits', 'edit-'));
  const edited = join(directory, basename(path));
  await writeFile(edited, changed);
  const diff = await run('diff', ['-u', '--label', `a/${path}`, '--label', `b/${path}`, source, edited]);
  const patch = join(directory, `edit-${path.replaceAll('/', '-')}.patch`);
  await writeFile(patch, diff.stdout);
  return patch;
}
