import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuilderError } from '../error.ts';
import { includedTexts } from '../tree/included.ts';
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
  for (const [before, after] of pairs(changed)) {
    for (const [name, chunk] of [...mentions(before, names), ...mentions(after, names)]) {
      if (names.has(name) && isInvocation(chunk)) throw tooWide(`${name} stands in a macro that makes names of it`);
    }
  }
  edges.progress.step(`find what uses ${[...names].slice(0, 4).join(', ')}`);
  const isIncluded = await includedTexts(edges, tree);
  const files = new Set<string>();
  for (let fresh = [...names]; fresh.length > 0; ) {
    const next = new Set<string>();
    for (const path of await filesWith(edges, tree, fresh)) {
      if (path.endsWith('.c')) files.add(path);
      // A C file may be included as a header is; what another one defines is its own.
      if (path.endsWith('.c') && !isIncluded(path)) continue;
      const text = await readFile(join(tree.source, path), 'latin1');
      for (const [name, chunk] of mentions(text, names)) {
        if (names.has(name)) continue;
        // linux/page-flags.h, `PAGEFLAG(Dirty, dirty, PF_HEAD)`: which names come of it, only the preprocessor knows.
        if (chunk.includes('##') || isInvocation(chunk))
          throw tooWide(`${name} makes names of parts, so that who uses it cannot be told`);
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

/** What changes, goes or comes: a file may ask whether there is a macro, or have something of a new name. */
function changedNames(changed: ChangedTexts): Set<string> {
  const names = changedMacros(changed);
  for (const [before, after] of pairs(changed)) {
    for (const name of [...changedEntities(before, after), ...changedEntities(after, before)]) names.add(name);
  }
  return names;
}

/** Macros that change, come or go, and those of the same text that are made of them. */
export function changedMacros(changed: ChangedTexts): Set<string> {
  const names = new Set<string>();
  for (const [before, after] of pairs(changed)) {
    const [old, now] = [macrosOf(before), macrosOf(after)];
    const changes = new Set(changedEntities(before, after));
    for (const name of old) if (changes.has(name)) names.add(name);
    for (const name of now) if (!old.has(name)) names.add(name);
    for (let size = -1; size !== names.size; ) {
      size = names.size;
      for (const [name] of mentions(after, names)) if (now.has(name)) names.add(name);
    }
  }
  return names;
}

/** Whether a definition is what a macro makes of its arguments: TRACE_EVENT(...), PAGEFLAG(...). */
function isInvocation(chunk: string): boolean {
  return chunk.split('\n').some((line) => /^(?:static |extern |inline )*[A-Z][A-Z_0-9]+ ?\(/.test(line));
}

function macrosOf(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/^\s*#\s*define\s+(\w+)/gm)].map(([, name = '']) => name));
}

function pairs({ stock, states }: ChangedTexts): [before: string, after: string][] {
  return states.flatMap((state) =>
    [...stock].map(([path, before]): [string, string] => [before, state.get(path) ?? before]),
  );
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
