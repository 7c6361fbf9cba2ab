import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { keep } from './bound.ts';

/** A directory that vanishes when removed, or when this process ends for any reason. */
export interface Scratch {
  readonly path: string;
  remove(): Promise<void>;
}

/** Makes a scratch directory under `parent`. */
export async function makeScratch(parent: string): Promise<Scratch> {
  await mkdir(parent, { recursive: true });
  const path = await mkdtemp(join(parent, 'run-'));
  // The second removal is for a QEMU that was still writing while it was being killed.
  const keeper = await keep('echo held; cat >/dev/null; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }', [path]);
  return { path, remove: () => keeper.release() };
}
