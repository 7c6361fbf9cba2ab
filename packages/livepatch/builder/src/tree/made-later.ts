import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PreparedTree } from './tree.ts';

/**
 * Files that Kbuild made in a tree after `make prepare`, for a unit that includes them (security/selinux/flask.h). What
 * was read of the tree before does not know them.
 */
export async function madeLater(tree: Pick<PreparedTree, 'directory'>): Promise<string[]> {
  const text = await readFile(listPath(tree), 'utf8').catch(() => '');
  return [...new Set(text.split('\n').filter((path) => path !== ''))];
}

export async function noteMade(tree: Pick<PreparedTree, 'directory'>, path: string): Promise<void> {
  await appendFile(listPath(tree), `${path}\n`);
}

function listPath({ directory }: Pick<PreparedTree, 'directory'>): string {
  return join(directory, 'made-later');
}
