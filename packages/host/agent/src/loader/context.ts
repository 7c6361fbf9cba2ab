import type { Channel } from '@kmend/protocol';
import { timing } from '@kmend/rules';
import type { RepositoryClient } from '@kmend/trust';
import { severityOf } from '../codes.ts';
import type { Host } from '../config/host.ts';
import type { Config } from '../config/schema.ts';
import type { Patience } from '../decide/advance.ts';
import type { Edges } from '../edges/edges.ts';
import { readBootId } from '../kernel/facts.ts';
import { uptime } from '../kernel/log.ts';
import { runningBuildId } from '../kernel/notes.ts';
import type { Log } from '../log.ts';
import { type ObservedStore, openObserved } from '../seen/observed.ts';
import type { Journal } from '../state/journal.ts';
import type { Moment } from '../state/machine.ts';
import { type JournalStore, openJournal } from '../state/store.ts';

/** What every act of the loader works on. One actor at a time (service/lock.ts). */
export interface Loader {
  readonly edges: Edges;
  readonly config: Config;
  /** Over the fetcher's cache: everything is verified here a second time. */
  readonly repository: RepositoryClient;
  readonly store: JournalStore;
  readonly observed: ObservedStore;
  readonly log: Log;
  readonly buildId: string;
  readonly bootId: string;
  readonly patience: Patience;
  identity: Host;
}

/** What a loader is opened with; the rest is read from the host. */
export type LoaderParts = Pick<Loader, 'edges' | 'config' | 'identity' | 'repository' | 'log'>;

export async function openLoader(parts: LoaderParts): Promise<Loader> {
  const { edges, config } = parts;
  return {
    ...parts,
    store: await openJournal(edges),
    observed: await openObserved(edges),
    buildId: await runningBuildId(edges),
    bootId: await readBootId(edges),
    patience: {
      soakMs: config.soakSeconds * 1000,
      stuckMs: config.stuckAfterSeconds * 1000,
      limitMs: config.transitionLimitSeconds * 1000,
      unloadMs: timing.unload * 1000,
    },
  };
}

export function channelOf(loader: Loader): Channel {
  return loader.config.channel ?? loader.identity.channel;
}

export async function now(edges: Edges): Promise<Moment> {
  return { at: edges.clock.now().toISOString(), uptime: await uptime(edges) };
}

/** Makes one transition durable, and logs the event it leaves. */
export async function commit(loader: Loader, change: (journal: Journal, moment: Moment) => Journal): Promise<Journal> {
  const moment = await now(loader.edges);
  const before = loader.store.journal;
  const after = await loader.store.update((journal) => change(journal, moment));
  const event = after.events.at(-1);
  if (event !== undefined && event !== before.events.at(-1)) {
    loader.log(severityOf(event.code), event.message, { code: event.code, serial: event.serial });
  }
  return after;
}

/** Milliseconds until what has just come to its end is looked at by the policy again. */
const SOON_MS = 1_000;

/**
 * Has the loader look again although the repository says nothing new: by itself while it is there, else when the
 * fetcher asks.
 */
export async function wakeSoon({ edges, observed }: Loader): Promise<void> {
  const wakeAt = new Date(edges.clock.now().getTime() + SOON_MS).toISOString();
  await observed.save({ ...observed.value, wakeAt });
}
