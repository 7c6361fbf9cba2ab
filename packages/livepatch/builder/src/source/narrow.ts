import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { BuilderError } from '../error.ts';
import { includedTexts, includeGraph } from '../tree/included.ts';
import type { PreparedTree } from '../tree/tree.ts';
import type { ChangedTexts } from './changed-texts.ts';
import { changedEntities, entitiesOf, mentions } from './entities.ts';
import { filesWith } from './files-with.ts';
import { filesThatDeclare } from './new-names.ts';
import { withRecordsOf } from './records/raw.ts';
import type { UnmovedRecord } from './records/unmoved.ts';
import { filesWithValues } from './records/values.ts';
import { Users } from './users.ts';

/** With more names than this nearly every file has one. */
const NAMES_LIMIT = 400;

/**
 * Those of many units that mention what changes in texts that all of them may include, or a macro, an inline function
 * or a struct of a header that does, and so on. Where a header gives it to a macro that may make names of it, so that
 * names do not tell, all that can include that header. Throws `header-too-wide` where that leaves more than `limit`.
 * `unmoved`: by state. Of such records only the values count that are filled by position: nothing else of a unit can
 * see that members came to them.
 */
export async function narrowed(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  changed: ChangedTexts,
  candidates: readonly string[],
  limit: number,
  unmoved: readonly ReadonlyMap<string, UnmovedRecord>[],
): Promise<string[]> {
  const paths = [...changed.stock.keys()].slice(0, 3).join(', ');
  const tooWide = (what: string): BuilderError =>
    new BuilderError('header-too-wide', `${candidates.length} files of this kernel can include ${paths}, and ${what}`, {
      hint: 'write the fix without the change of the header: docs/authoring.md',
    });
  const reordered = unmoved.flatMap((records) =>
    [...records].flatMap(([tag, { keepsOrder }]) => (keepsOrder ? [] : tag)),
  );
  const filled =
    reordered.length === 0 ? new Set<string>() : await filesWithValues(edges, tree, reordered, NAMES_LIMIT);
  if (filled === undefined) throw tooWide(`values of ${reordered.join(', ')} have more than ${NAMES_LIMIT} names`);
  const { names, fresh: come } = changedNames(changed, unmoved);
  const users = new Users(names);
  const what = [...reordered, ...names, ...come];
  if (what.length > 0) edges.progress.step(`find what uses ${what.slice(0, 4).join(', ')}`);
  const [isIncluded, graph] = await Promise.all([includedTexts(edges, tree), includeGraph(edges, tree)]);
  const wanted = new Set(candidates);
  const files = new Set<string>(filled);
  // A new name means something in those units alone that have another declaration of it.
  for (const path of await filesThatDeclare(edges, tree, come))
    for (const file of [path, ...graph.containersOf(path)]) files.add(file);
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

/** What changes or goes, and macros that come: a file may ask whether there is one. `fresh`: other names that come. */
function changedNames(
  changed: ChangedTexts,
  unmoved: readonly ReadonlyMap<string, UnmovedRecord>[],
): { readonly names: ReadonlySet<string>; readonly fresh: ReadonlySet<string> } {
  const names = changedMacros(changed);
  const fresh = new Set<string>();
  for (const [before, whole, state] of pairs(changed)) {
    const after = withRecordsOf(before, whole, new Set(unmoved[state]?.keys()));
    const old = entitiesOf(before);
    for (const name of changedEntities(before, after)) names.add(name);
    for (const name of changedEntities(after, before)) (old.has(name) ? names : fresh).add(name);
  }
  return { names, fresh: new Set([...fresh].filter((name) => !names.has(name))) };
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

function pairs({ stock, states }: ChangedTexts): [before: string, after: string, state: number][] {
  return states.flatMap((state, at) =>
    [...stock].map(([path, before]): [string, string, number] => [before, state.get(path) ?? before, at]),
  );
}
