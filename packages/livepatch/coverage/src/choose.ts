import { sha256 } from '@kmend/base/node';

/** Folders of the core of the kernel: judged whole. */
export const CORE: readonly string[] =
  'net/ipv4 net/ipv6 net/core net/unix net/netlink net/packet kernel fs mm ipc security crypto io_uring block lib'.split(
    ' ',
  );

export interface Choice {
  readonly folders: readonly string[];
  readonly only: RegExp;
  /**
   * So many files, chosen at random and the same for the same seed: outside the core, unless all folders are of the
   * core.
   */
  readonly sample?: { readonly count: number; readonly seed: string } | undefined;
}

/** The C files to judge, of all that changed. */
export function chooseFiles(changed: readonly string[], { folders, only, sample }: Choice): string[] {
  const files = changed.filter((path) => isIn(path, folders) && path.endsWith('.c'));
  if (sample === undefined) return files.filter((path) => only.test(path));
  // A hash gives the order: the choice is random, and the same for the same seed.
  const place = (path: string): string => sha256(`${sample.seed}:${path}`);
  const isOfCore = folders.every((folder) => isIn(`${folder}/`, CORE));
  const eligible = isOfCore ? files : files.filter((path) => !isIn(path, CORE));
  const ordered = [...eligible].sort((a, b) => (place(a) < place(b) ? -1 : 1));
  return ordered.slice(0, sample.count).filter((path) => only.test(path));
}

function isIn(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => path.startsWith(`${folder}/`));
}
