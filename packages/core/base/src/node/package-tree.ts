import { chmod, readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Run } from '../process.ts';
import { cleanEnvironment, runOk } from './process.ts';

/** Of a package that is packed. */
export interface Packing {
  /** Seconds since 1970 that every file in the package carries. */
  readonly epoch: number;
  /** Of gzip, 1 to 9. Every dpkg reads gzip, and its bytes do not depend on how many threads packed it. */
  readonly level: 6 | 9;
}

/** Gives every file below `path` the same time, and every folder its mode: neither depends on who builds when. */
export async function normalizeTree(path: string, epoch: number): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await normalizeTree(join(path, entry.name), epoch);
    else await utimes(join(path, entry.name), epoch, epoch);
  }
  await chmod(path, 0o755);
  await utimes(path, epoch, epoch);
}

/**
 * Packs a tree with its `DEBIAN` folder into a .deb at `path`; the same tree gives the same bytes. Needs dpkg-deb.
 * Throws EdgeError.
 */
export async function packDeb(run: Run, tree: string, path: string, { epoch, level }: Packing): Promise<void> {
  await normalizeTree(tree, epoch);
  await runOk(run, 'dpkg-deb', ['--build', '--root-owner-group', '-Zgzip', `-z${level}`, tree, path], {
    env: { ...cleanEnvironment(), SOURCE_DATE_EPOCH: String(epoch) },
  });
}
