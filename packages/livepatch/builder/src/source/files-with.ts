import type { Edges } from '@kmend/base';
import { madeLater } from '../tree/made-later.ts';
import type { PreparedTree } from '../tree/tree.ts';
import { wordIndex } from '../tree/word-index.ts';

/**
 * C files and headers of the tree that have one of these words. Those of other architectures, and of what is not the
 * kernel, are left out. Very few are named that have none, and files that were made later.
 */
export async function filesWith(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  words: readonly string[],
): Promise<string[]> {
  const index = await wordIndex(edges, tree);
  return [...new Set([...index.filesWith(words), ...(await madeLater(tree))])];
}
