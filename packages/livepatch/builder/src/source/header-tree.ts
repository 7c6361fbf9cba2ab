import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Edges } from '@kmend/base';
import { exists, runOk, sha256 } from '@kmend/base/node';
import { includableFiles, sourceFolders } from '../tree/included.ts';
import type { PreparedTree } from '../tree/tree.ts';

/** Files that other files include, as changed by fixes: path in the tree to the text. */
export type ChangedHeaders = ReadonlyMap<string, string>;

export function headersKey(headers: ChangedHeaders): string {
  return headers.size === 0 ? '' : sha256(JSON.stringify([...headers].sort(([a], [b]) => (a < b ? -1 : 1))));
}

/**
 * A folder that looks like the tree's source to the compiler, with some headers changed: hard links to all other
 * headers, so that every way of including one (`-I`, beside the includer, by `../`) leads to the changed text. Kept in
 * the cache by the changed texts. Without changes it is the tree itself.
 */
export async function headerTree(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  headers: ChangedHeaders,
): Promise<string> {
  if (headers.size === 0) return tree.source;
  const parent = join(tree.directory, 'header-trees');
  const directory = join(parent, headersKey(headers).slice(0, 32));
  if (await exists(directory)) return directory;
  await mkdir(parent, { recursive: true });
  const temporary = await mkdtemp(join(parent, '.make-'));
  try {
    edges.progress.step(`link the headers of ${tree.kernel.release} with ${[...headers.keys()].join(' ')} changed`);
    await linkSources(edges, tree, temporary);
    for (const [path, text] of headers) await replaceLinked(temporary, path, text);
    await rename(temporary, directory).catch(async (error: unknown) => {
      if (!(await exists(directory))) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return directory;
}

/**
 * Hard links in a folder to all that compiling a unit may read beside its own text: a third of the tree's files. And
 * all folders: from one that does not exist gcc finds nothing, not even `../br_private.h`.
 */
export async function linkSources(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  into: string,
): Promise<void> {
  const files = [...(await sourceFolders(edges, tree)), ...(await includableFiles(edges, tree))];
  await runOk(edges.run, 'cpio', ['--quiet', '-0', '--pass-through', '--make-directories', '--link', into], {
    cwd: tree.source,
    stdin: files.join('\0'),
    signal: edges.signal,
  });
}

/** Gives a linked file another text. */
export async function replaceLinked(root: string, path: string, text: string): Promise<void> {
  const to = join(root, path);
  // A link to the tree's own file: written to, it would change the tree.
  await rm(to, { force: true });
  await mkdir(dirname(to), { recursive: true });
  await writeFile(to, text, 'latin1');
}
