import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { holderOf, type LockOptions, livingProcess, ownIdentity, withLock } from './lock.ts';

const POLL_MS = 250;

/**
 * Runs `work` while a mark in `directory` says that this process uses what lies there. Waits while another has it
 * alone. Any number of processes use it at the same time; the mark of a killed one counts for nothing.
 */
export async function withSharedUse<T>(
  directory: string,
  work: () => Promise<T>,
  { signal, onWait }: Pick<LockOptions, 'signal' | 'onWait'> = {},
): Promise<T> {
  await mkdir(marksIn(directory), { recursive: true });
  const mark = join(marksIn(directory), `${process.pid}-${randomBytes(6).toString('hex')}`);
  try {
    for (let told = false; ; told = true) {
      // First the mark, then the look: who wants it alone does so the other way round, so that one of both sees it.
      await writeFile(mark, await ownIdentity(), { mode: 0o600 });
      const holder = await holderOf(lockIn(directory));
      if (holder === undefined) return await work();
      await rm(mark, { force: true });
      if (!told) onWait?.(holder);
      await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
    }
  } finally {
    await rm(mark, { force: true });
  }
}

/** Runs `work` while no process uses the directory by `withSharedUse`: waits for those that do, holds others back. */
export async function withExclusiveUse<T>(
  directory: string,
  work: () => Promise<T>,
  { signal, onWait }: Pick<LockOptions, 'signal' | 'onWait'> = {},
): Promise<T> {
  const options = { ...(signal === undefined ? {} : { signal }), ...(onWait === undefined ? {} : { onWait }) };
  const alone = async (): Promise<T> => {
    for (let told = false; ; told = true) {
      const user = await userOf(directory);
      if (user === undefined) return await work();
      if (!told) onWait?.(user);
      await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
    }
  };
  return await withLock(lockIn(directory), alone, options);
}

async function userOf(directory: string): Promise<number | undefined> {
  for (const name of await readdir(marksIn(directory)).catch(() => [])) {
    const path = join(marksIn(directory), name);
    // It may have ended just now, or be writing its mark: the name has its number, too.
    const text = await readFile(path, 'utf8').catch(() => '');
    const user = await livingProcess(text === '' ? name : text);
    if (user !== undefined) return user;
    await rm(path, { force: true });
  }
  return undefined;
}

function marksIn(directory: string): string {
  return join(directory, '.users');
}

function lockIn(directory: string): string {
  return join(directory, '.alone.lock');
}
