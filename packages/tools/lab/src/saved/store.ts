import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { runOk, sha256File } from '@kmend/base/node';
import type { LabEdges } from '../edges.ts';
import { withLock } from '../lock.ts';

const DISK = 'disk.qcow2';
const DIGEST = 'sha256';
/** All saved machines together, in bytes on the disk; one of 1 GiB of memory takes about 200 MB. */
const MOST_BYTES = 4 * 2 ** 30;
/** One that was not used for so long is removed. */
const KEPT_MS = 14 * 86_400_000;

/** Saved machines in a directory of the cache, by key: QEMU disks that hold the memory of a machine, too. */
export class SavedMachines {
  readonly #edges: Pick<LabEdges, 'run' | 'clock' | 'signal' | 'progress'>;
  readonly #directory: string;
  readonly #mostBytes: number;

  /** `mostBytes`: what all of them may take together. */
  constructor(
    edges: Pick<LabEdges, 'run' | 'clock' | 'signal' | 'progress'>,
    directory: string,
    mostBytes: number = MOST_BYTES,
  ) {
    this.#edges = edges;
    this.#directory = directory;
    this.#mostBytes = mostBytes;
  }

  /**
   * Puts a copy of the saved machine at the path `disk`. Where there is none, or a damaged one, `make` has to leave one
   * at that path; it is kept. Others that want the same key, in any process, wait meanwhile.
   */
  async take(key: string, disk: string, make: () => Promise<void>): Promise<void> {
    const place = join(this.#directory, key);
    await withLock(`${place}.lock`, this.#edges.signal, async () => {
      if (await this.#copyOut(place, disk)) return;
      await rm(disk, { force: true });
      await make();
      await this.#keep(place, disk);
      await this.#sweep(key);
    });
  }

  /** Forgets one that turned out to be of no use. */
  async discard(key: string): Promise<void> {
    const place = join(this.#directory, key);
    await withLock(`${place}.lock`, this.#edges.signal, () => rm(place, { recursive: true, force: true }));
  }

  async #copyOut(place: string, disk: string): Promise<boolean> {
    const digest = await readFile(join(place, DIGEST), 'utf8').catch(() => undefined);
    if (digest === undefined) return false;
    try {
      await this.#copy(join(place, DISK), disk);
      if ((await sha256File(disk)) === digest.trim()) {
        const now = this.#edges.clock.now();
        await utimes(place, now, now);
        return true;
      }
    } catch {
      // Removed by a sweep of another process meanwhile, or without its disk: as a damaged one.
    }
    this.#edges.signal.throwIfAborted();
    this.#edges.progress.step('lab: a saved machine is damaged and made again');
    await rm(place, { recursive: true, force: true });
    return false;
  }

  async #keep(place: string, disk: string): Promise<void> {
    const work = `${place}.tmp`;
    await rm(work, { recursive: true, force: true });
    await mkdir(work, { recursive: true });
    await this.#copy(disk, join(work, DISK));
    await writeFile(join(work, DIGEST), `${await sha256File(disk)}\n`);
    await rename(work, place);
  }

  async #copy(from: string, to: string): Promise<void> {
    await runOk(this.#edges.run, 'cp', ['--reflink=auto', '--sparse=auto', from, to], { signal: this.#edges.signal });
  }

  /** Removes what was not used for long, then the least recently used, until the rest is small enough. `own` stays. */
  async #sweep(own: string): Promise<void> {
    const all = await entries(this.#directory, this.#edges.clock);
    let bytes = all.reduce((sum, entry) => sum + entry.bytes, 0);
    for (const entry of all.sort((a, b) => b.ageMs - a.ageMs)) {
      if (entry.name === own || (entry.ageMs < KEPT_MS && bytes <= this.#mostBytes)) continue;
      // Another process may be making it just now: what is half-written goes only when it is old.
      if (entry.name.endsWith('.tmp') && entry.ageMs < KEPT_MS) continue;
      await rm(join(this.#directory, entry.name), { recursive: true, force: true });
      bytes -= entry.bytes;
    }
  }
}

interface Entry {
  readonly name: string;
  readonly bytes: number;
  /** Since its last use. */
  readonly ageMs: number;
}

async function entries(directory: string, clock: Clock): Promise<Entry[]> {
  const found: Entry[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    try {
      const disk = await stat(join(path, DISK)).catch(() => undefined);
      const ageMs = clock.now().getTime() - (await stat(path)).mtimeMs;
      found.push({ name: entry.name, bytes: (disk?.blocks ?? 0) * 512, ageMs });
    } catch {
      // Removed by another process meanwhile.
    }
  }
  return found;
}
