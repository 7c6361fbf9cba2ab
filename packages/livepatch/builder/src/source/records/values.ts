import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { includedTexts } from '../../tree/included.ts';
import type { PreparedTree } from '../../tree/tree.ts';
import { mentions } from '../entities.ts';
import { filesWith } from '../files-with.ts';
import { isValueOf } from './positional.ts';

/**
 * C files that may have a value of one of these records, not only a pointer to one: they mention it, or what a header
 * makes of it (a struct that holds one, a macro, an inline function). `undefined` where that has more names than
 * `limit`.
 */
export async function filesWithValues(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  tags: Iterable<string>,
  limit: number,
): Promise<ReadonlySet<string> | undefined> {
  const names = new Set(tags);
  const files = new Set<string>();
  const isIncluded = await includedTexts(edges, tree);
  for (let fresh = [...names]; fresh.length > 0; ) {
    const next = new Set<string>();
    for (const path of await filesWith(edges, tree, fresh)) {
      edges.signal.throwIfAborted();
      const text = await readFile(join(tree.source, path), 'latin1');
      if (![...names].some((name) => isValueOf(text, name))) continue;
      if (path.endsWith('.c')) files.add(path);
      if (path.endsWith('.c') && !isIncluded(path)) continue;
      for (const [name, definition] of mentions(text, names)) {
        if (!names.has(name) && [...names].some((known) => isValueOf(definition, known))) next.add(name);
      }
    }
    for (const name of next) names.add(name);
    if (names.size > limit) return undefined;
    fresh = [...next];
  }
  return files;
}
