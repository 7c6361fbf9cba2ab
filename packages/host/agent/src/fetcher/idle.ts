import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { paths } from '../edges/paths.ts';
import { askRepository } from './idle-request.ts';
import { IdleState, JournalGlance, ObservedGlance } from './idle-state.ts';
import { waitSeconds } from './wait.ts';

/**
 * The idle check, a program of its own: whether a full turn of the fetcher is needed. Between checks no process of Node
 * stays in memory, so this one has to be small and quick to start; it verifies nothing and decides nothing but that.
 * Prints the seconds until the next one. Exit code 0: nothing is new, which was noted; 3: a full turn is needed.
 */
const NEEDED = 3;
const DEFAULT_SECONDS = 300;

export interface Glance {
  readonly idle: IdleState | undefined;
  readonly journal: JournalGlance | undefined;
  readonly wakeAt: number | undefined;
  /** Whether the kernel shows the livepatch of the journal in force. */
  readonly inForce: boolean;
  /** Packages may load livepatches here, and the kernel shows others than the loader saw. */
  readonly isStackStale: boolean;
  readonly now: number;
}

/** Whether something is due that no answer of the repository could make unnecessary. Pure. */
export function isDue({ idle, journal, wakeAt, inForce, isStackStale, now }: Glance): boolean {
  if (idle === undefined || journal === undefined) return true;
  if (now < idle.writtenAt || now >= Math.min(idle.freshUntil, idle.reportAt, idle.lookAt)) return true;
  if (isStackStale || (wakeAt !== undefined && now >= wakeAt)) return true;
  if ((journal.events.at(-1)?.number ?? 0) !== idle.told) return true;
  return journal.current?.phase === 'good' && !inForce;
}

async function read(path: string, absent?: unknown): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return absent;
    // Torn or not for us: a full turn says what is wrong, if anything is.
    return undefined;
  }
}

/** Before its first event the loader has no journal. */
const NO_JOURNAL = { current: null, events: [] };

async function glance(): Promise<Glance> {
  const idle = IdleState.safeParse(await read(paths.idle)).data;
  const journal = JournalGlance.safeParse(await read(paths.journal, NO_JOURNAL)).data;
  const observed = ObservedGlance.safeParse(await read(paths.observed)).data;
  const module = journal?.current?.module;
  const enabled =
    module === undefined || !/^kmend_[0-9a-f]{12}$/.test(module)
      ? ''
      : await readFile(`/sys/kernel/livepatch/${module}/enabled`, 'utf8').catch(() => '');
  const wakeAt = observed?.wakeAt == null ? undefined : Date.parse(observed.wakeAt);
  const packaged = observed?.stack == null ? undefined : (observed.shown ?? []);
  const names = packaged === undefined ? [] : await readdir('/sys/kernel/livepatch').catch(() => []);
  const ours = names.filter((it) => it.startsWith('kmend_')).sort();
  const isStackStale = packaged !== undefined && ours.join() !== packaged.join();
  return { idle, journal, wakeAt, inForce: enabled.trim() === '1', isStackStale, now: Date.now() };
}

export async function idleCheck(): Promise<number> {
  const seen = await glance();
  const intervalSeconds = seen.idle?.intervalSeconds ?? DEFAULT_SECONDS;
  const tell = (pauseMs: number): void => {
    process.stdout.write(`${waitSeconds({ ...seen, intervalSeconds, pauseMs }, Math.random())}\n`);
  };
  if (isDue(seen) || seen.idle === undefined) {
    tell(0);
    return NEEDED;
  }
  const { current, pauseMs } = await askRepository(seen.idle);
  tell(pauseMs ?? 0);
  if (pauseMs !== undefined) {
    // A full turn now would ask again at once. It comes after the pause, and says what it meets.
    await rm(paths.idle, { force: true });
    return 0;
  }
  if (!current) return NEEDED;
  // The time of this file says when the repository last confirmed what is held; its content is that of the full turn.
  await writeFile(`${paths.idle}.seen`, '', { mode: 0o600 });
  return 0;
}
