import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuilderError } from '../error.ts';
import type { PreparedTree, TreeEdges } from '../tree/prepare.ts';
import { changedEntities, mentions } from './entities.ts';
import type { ChangedTexts } from './reach.ts';

/** With more names than this nearly every file has one. */
const NAMES_LIMIT = 400;

/**
 * Those of many units that mention what changes in texts that all of them may include, or a macro, an inline function or a struct of a
 * header that does, and so on. Throws `header-too-wide` where that does not tell, or leaves more than `limit`.
 */
export async function narrowed(
  edges: TreeEdges,
  tree: PreparedTree,
  changed: ChangedTexts,
  candidates: readonly string[],
  limit: number,
): Promise<string[]> {
  const paths = [...changed.stock.keys()].slice(0, 3).join(', ');
  const tooWide = (what: string): BuilderError =>
    new BuilderError('header-too-wide', `${candidates.length} files of this kernel can include ${paths}, and ${what}`, {
      hint: 'write the fix without the change of the header: docs/authoring.md',
    });
  const names = changedNames(changed);
  if (names.size === 0) return [];
  edges.progress.step(`find what uses ${[...names].slice(0, 4).join(', ')}`);
  const files = new Set<string>();
  for (let fresh = [...names]; fresh.length > 0; ) {
    const next = new Set<string>();
    for (const path of await filesWith(edges, tree, fresh)) {
      if (path.endsWith('.c')) files.add(path);
      // A C file may be included as a header is; what it defines counts only there.
      if (path.endsWith('.c') && candidates.includes(path)) continue;
      const text = await readFile(join(tree.source, path), 'latin1');
      for (const [name, chunk] of mentions(text, names)) {
        if (names.has(name)) continue;
        // linux/page-flags.h, `PAGEFLAG(Dirty, dirty, PF_HEAD)`: which names come of it, only the preprocessor knows.
        if (chunk.includes('##')) throw tooWide(`${name} makes names of parts, so that who uses it cannot be told`);
        next.add(name);
      }
    }
    for (const name of next) names.add(name);
    if (names.size > NAMES_LIMIT) throw tooWide(`what depends on the change has more than ${NAMES_LIMIT} names`);
    fresh = [...next];
  }
  const found = candidates.filter((path) => files.has(path));
  if (found.length > limit)
    throw tooWide(`${found.length} of them mention what it changes; at most ${limit} are looked at`);
  return found;
}

/** What changes or goes; and new macros: a file may ask whether there is one. */
function changedNames({ stock, states }: ChangedTexts): Set<string> {
  const names = new Set<string>();
  for (const [path, before] of stock) {
    for (const state of states) {
      const after = state.get(path) ?? before;
      for (const name of changedEntities(before, after)) names.add(name);
      const macros = (text: string): string[] =>
        [...text.matchAll(/^\s*#\s*define\s+(\w+)/gm)].map(([, name = '']) => name);
      const old = new Set(macros(before));
      for (const name of macros(after)) if (!old.has(name)) names.add(name);
    }
  }
  return names;
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
