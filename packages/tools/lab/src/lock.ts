import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { keep } from './bound.ts';

/**
 * Does `work` while holding an exclusive lock on the file `path` (created if absent, never removed); others, in this
 * process and in any other on this machine, wait. The lock is flock(2)'s, held by a child that ends with this process,
 * so that it can never be left behind.
 */
export async function withLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const keeper = await keep('exec 9>>"$1"; flock 9; echo held; cat >/dev/null', [path], signal);
  try {
    return await work();
  } finally {
    await keeper.release();
  }
}
