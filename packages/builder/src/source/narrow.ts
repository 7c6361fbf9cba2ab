import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuilderError } from '../error.ts';
import { includedTexts, includeGraph } from '../tree/included.ts';
import type { PreparedTree, TreeEdges } from '../tree/prepare.ts';
import { changedEntities, mentions } from './entities.ts';
import type { ChangedTexts } from './reach.ts';
import { Users } from './users.ts';

/** With more names than this nearly every file has one. */
const NAMES_LIMIT = 400;

/**
 * Those of many units that mention what changes in texts that all of them may include, or a macro, an inline function or a struct of a
 * header that does, and so on. Where a header gives it to a macro that may make names of it, so that names do not tell, all that can
 * include that header. Throws `header-too-wide` where that leaves more than `limit`.
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
  const users = new Users(changedNames(changed));
  if (users.names.size === 0) return [];
  edges.progress.step(`find what uses ${[...users.names].slice(0, 4).join(', ')}`);
  const [isIncluded, graph] = await Promise.all([includedTexts(edges, tree), includeGraph(edges, tree)]);
  const wanted = new Set(candidates);
  const files = new Set<string>();
  const unclear = new Set<string>();
  const scan = (path: string, text: string): string[] => {
    const found = users.scan(text);
    if (found === 'unclear') {
      unclear.add(path);
      for (const file of graph.containersOf(path)) if (wanted.has(file)) files.add(file);
      return [];
    }
    return found;
  };
  let fresh = [...users.names];
  for (const [path, texts] of textsOf(changed)) for (const text of texts) fresh.push(...scan(path, text));
  while (fresh.length > 0) {
    const next = new Set<string>();
    for (const path of await filesWith(edges, tree, fresh)) {
      edges.signal.throwIfAborted();
      if (users.names.size > NAMES_LIMIT)
        throw tooWide(`what depends on the change has more than ${NAMES_LIMIT} names`);
      if (path.endsWith('.c')) files.add(path);
      // A C file may be included as a header is; what another one defines is its own.
      if (unclear.has(path) || (path.endsWith('.c') && !isIncluded(path))) continue;
      for (const name of scan(path, await readFile(join(tree.source, path), 'latin1'))) next.add(name);
    }
    fresh = [...next];
  }
  const found = candidates.filter((path) => files.has(path));
  if (found.length > limit) {
    const through =
      unclear.size === 0 ? '' : `, or include ${[...unclear].slice(0, 3).join(', ')} which gives it to macros`;
    throw tooWide(`${found.length} of them mention what it changes${through}; at most ${limit} are looked at`);
  }
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

function macrosOf(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/^\s*#\s*define\s+(\w+)/gm)].map(([, name = '']) => name));
}

/** Each changed text as it was and as it is to be. */
function textsOf({ stock, states }: ChangedTexts): [path: string, texts: Set<string>][] {
  return [...stock].map(([path, before]) => [
    path,
    new Set([before, ...states.map((state) => state.get(path) ?? before)]),
  ]);
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
