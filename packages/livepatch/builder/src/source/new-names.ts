import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import type { PreparedTree } from '../tree/tree.ts';
import { entitiesOf } from './entities.ts';
import { filesWith } from './files-with.ts';

/**
 * Files in which new functions, variables and types (no macros) can be meant by a text that is as before. It compiled
 * without them, so that its own uses of the word are members and local variables, unless something declares the name
 * there at file scope or as `extern`.
 */
export async function filesThatDeclare(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  names: ReadonlySet<string>,
): Promise<string[]> {
  const found: string[] = [];
  for (const path of names.size === 0 ? [] : await filesWith(edges, tree, [...names])) {
    edges.signal.throwIfAborted();
    const text = await readFile(join(tree.source, path), 'latin1');
    if (mayDeclare(text, names)) found.push(path);
  }
  return found;
}

/** Whether a text may declare one of the names so that all of a unit sees it. What a macro is given, it may declare. */
export function mayDeclare(text: string, names: ReadonlySet<string>): boolean {
  const externs = text.match(/\bextern\b[^;{}]*/g) ?? [];
  if (externs.some((one) => one.match(/\w+/g)?.some((word) => names.has(word)))) return true;
  const declared = entitiesOf(text);
  return [...names].some((name) => declared.has(name));
}
