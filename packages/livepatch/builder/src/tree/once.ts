import type { Edges } from '@kmend/base';
import type { PreparedTree } from './tree.ts';

/**
 * What is read of a tree, once for each opened one: a search for companions plans a dozen builds, and the list of what
 * includes what alone has 7 MB. A failure is not kept.
 */
export function oncePerTree<T>(
  read: (edges: Pick<Edges, 'run' | 'progress' | 'signal'>, tree: PreparedTree) => Promise<T>,
): (edges: Pick<Edges, 'run' | 'progress' | 'signal'>, tree: PreparedTree) => Promise<T> {
  const known = new WeakMap<PreparedTree, Promise<T>>();
  return (edges, tree) => {
    const before = known.get(tree);
    if (before !== undefined) return before;
    const reading = read(edges, tree);
    known.set(tree, reading);
    reading.catch(() => known.delete(tree));
    return reading;
  };
}
