import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import { BuilderError } from '../error.ts';
import type { PreparedTree, TreeEdges } from '../tree/prepare.ts';
import { mentions } from './entities.ts';

const Reach = z.array(z.string());

/** More than this many files are not compiled for a header: such a change is not one for a livepatch. */
const FILES_LIMIT = 60;
const NAMES_LIMIT = 400;

/**
 * C files of the tree that can be changed by changed definitions: those that mention one, or a macro, an inline function or a struct
 * of a header that does, and so on. Throws `header-too-wide` where they are too many.
 */
export async function reachOf(edges: TreeEdges, tree: PreparedTree, names: readonly string[]): Promise<string[]> {
  // The tree does not change, and looking through all of it takes seconds.
  const path = join(tree.directory, 'reach', `${sha256(JSON.stringify([...names].sort()))}.json`);
  const known = Reach.safeParse(parseJson(await readFile(path, 'utf8').catch(() => '')));
  if (known.success) return known.data;
  edges.progress.step(`find what uses ${names.slice(0, 4).join(', ')}`);
  const found = await search(edges, tree, names);
  await writeFileAtomic(path, JSON.stringify(found));
  return found;
}

async function search(edges: TreeEdges, tree: PreparedTree, names: readonly string[]): Promise<string[]> {
  const known = new Set(names);
  const files = new Set<string>();
  for (let fresh = [...known]; fresh.length > 0; ) {
    const found = await filesWith(edges, tree, fresh);
    const next = new Set<string>();
    for (const path of found) {
      if (path.endsWith('.c')) files.add(path);
      else {
        const text = await readFile(join(tree.source, path), 'latin1');
        for (const name of mentions(text, known)) if (!known.has(name)) next.add(name);
      }
    }
    for (const name of next) known.add(name);
    if (files.size > FILES_LIMIT || known.size > NAMES_LIMIT) {
      throw new BuilderError(
        'header-too-wide',
        `the changed ${names.slice(0, 5).join(', ')} can reach more than ${FILES_LIMIT} files of the kernel`,
        { hint: 'write the fix without the change of the header: docs/authoring.md' },
      );
    }
    fresh = [...next];
  }
  return [...files].sort();
}

async function filesWith(edges: TreeEdges, tree: PreparedTree, words: readonly string[]): Promise<string[]> {
  const elsewhere = ['Documentation', 'tools', 'samples', 'scripts'].map((name) => `--exclude-dir=${name}`);
  const args = ['-rlwF', '--include=*.c', '--include=*.h', ...elsewhere, '-f', '-', '.'];
  const result = await edges.run('grep', args, {
    cwd: tree.source,
    stdin: `${words.join('\n')}\n`,
    env: { PATH: '/usr/bin:/bin', LANG: 'C', LC_ALL: 'C' },
    signal: edges.signal,
  });
  return result.stdout
    .toString('utf8')
    .split('\n')
    .map((line) => line.replace(/^\.\//, ''))
    .filter((path) => path !== '' && (!path.startsWith('arch/') || path.startsWith('arch/x86/')));
}
