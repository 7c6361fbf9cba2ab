import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EdgeError } from './error.ts';

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once when another process holds the lock. */
  readonly onWait?: (holder: number) => void;
  /** Milliseconds to wait for the holder; then `lock-held`. Default 30 minutes. */
  readonly timeoutMs?: number;
}

const POLL_MS = 250;

/**
 * Runs `work` while holding a lock file that names this process. A lock whose process is gone is taken over, so that a
 * killed holder never blocks the next one.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const until = performance.now() + (options.timeoutMs ?? 30 * 60_000);
  let told = false;
  while (!(await tryTake(path))) {
    const holder = await holderOf(path);
    if (holder === undefined) continue;
    if (!told) options.onWait?.(holder);
    told = true;
    if (performance.now() > until) {
      throw new EdgeError('lock-held', `process ${holder} holds ${path}`, { hint: 'wait for it to end, or end it' });
    }
    await delay(POLL_MS, undefined, options.signal === undefined ? {} : { signal: options.signal });
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** The lock appears with its content in one step, so that no reader sees half of it. */
async function tryTake(path: string): Promise<boolean> {
  const own = `${path}.${randomBytes(6).toString('hex')}.new`;
  try {
    await writeFile(own, await ownIdentity(), { mode: 0o600 });
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

/** The living holder; a dead one's lock is moved out of the way. */
export async function holderOf(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const pid = await livingProcess(text);
  if (pid !== undefined) return pid;
  const aside = `${path}.${randomBytes(6).toString('hex')}.stale`;
  await rename(path, aside).catch(() => undefined);
  // Another taker may have been quicker, and this is its fresh lock: it goes back.
  const moved = await readFile(aside, 'utf8').catch(() => undefined);
  if (moved !== undefined && moved !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
  return undefined;
}

/** What a lock of this process says. */
export async function ownIdentity(): Promise<string> {
  return `${process.pid} ${await identityOf(process.pid)}\n`;
}

/** The process that a lock names, if it is still that one. */
export async function livingProcess(lock: string): Promise<number | undefined> {
  const [first, ...identity] = lock.trim().split(' ');
  const pid = Number.parseInt(first ?? '', 10);
  const isSame = async (): Promise<boolean> => identity.length === 0 || identity.join(' ') === (await identityOf(pid));
  return isAlive(pid) && (await isSame()) ? pid : undefined;
}

/**
 * Tells a process from a later one of the same id: this boot, and its start time (proc_pid_stat(5), field 22). A lock
 * that a power cut left behind must not name the process that has that id now.
 */
async function identityOf(pid: number): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The command's name may hold spaces and brackets; the fields after it do not.
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${boot.trim()} ${started}`;
}

function isAlive(pid: number): boolean {
  if (Number.isNaN(pid)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
