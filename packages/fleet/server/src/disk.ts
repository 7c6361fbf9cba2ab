import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, diskFault } from '@kmend/base';
import { ServerError } from './error.ts';

/** Bytes below which a disk counts as full: a publication, or the log of the store, would not fit. */
const LEAST = 4 * 2 ** 20;
/** Milliseconds for which an answer holds: load balancers ask often, and each answer is a write. */
const HOLDS_MS = 2000;

/** A failure as what the disk says of itself, or `undefined` where the disk is not to blame. */
export function asDiskError(error: unknown, where: string): ServerError | undefined {
  const fault = diskFault(error);
  if (fault === undefined) return undefined;
  return new ServerError(fault.code, `${fault.says} ${where}`, { cause: error, hint: fault.hint });
}

/** Whether a folder's disk takes anything, tried by writing to it: quotas and read-only file systems show in no figure. */
export class DiskProbe {
  readonly #folder: string;
  readonly #clock: Clock;
  #last: { readonly at: number; readonly fault: Promise<ServerError | undefined> } | undefined;

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** What is wrong with the disk; `undefined`: it takes what it is given. */
  fault(): Promise<ServerError | undefined> {
    const now = this.#clock.monotonic();
    if (this.#last === undefined || now - this.#last.at > HOLDS_MS) this.#last = { at: now, fault: this.#try() };
    return this.#last.fault;
  }

  async #try(): Promise<ServerError | undefined> {
    const path = join(this.#folder, 'disk-probe.tmp');
    try {
      const handle = await open(path, 'w', 0o600);
      try {
        await handle.writeFile(Buffer.alloc(4096));
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      return (
        asDiskError(error, this.#folder) ??
        new ServerError('disk-failing', `${this.#folder} cannot be written`, { cause: error })
      );
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
    const { bavail, bsize } = await statfs(this.#folder);
    if (bavail * bsize >= LEAST) return undefined;
    return new ServerError('disk-full', `only ${bavail * bsize} bytes are left for ${this.#folder}`, {
      hint: 'free some space on that file system',
    });
  }
}
