import type { Channel } from '@kmend/protocol';
import type { RepositoryClient } from '@kmend/trust';
import type { Identity } from '../config/identity.ts';
import type { Config } from '../config/schema.ts';
import type { Patience } from '../decide/advance.ts';
import type { Edges } from '../edges/edges.ts';
import { readBootId } from '../kernel/facts.ts';
import { uptime } from '../kernel/log.ts';
import { runningBuildId } from '../kernel/notes.ts';
import type { Log } from '../log.ts';
import type { Journal } from '../state/journal.ts';
import type { Moment } from '../state/machine.ts';
import { type JournalStore, openJournal } from '../state/store.ts';
import { type ObservedStore, openObserved } from './observed.ts';

/** How long the kernel may take to let go of replaced modules before the agent says so and goes on. */
const UNLOAD_MS = 30_000;

/** What every act of the agent works on. One actor at a time (service/lock.ts). */
export interface Agent {
  readonly edges: Edges;
  readonly config: Config;
  readonly repository: RepositoryClient;
  readonly store: JournalStore;
  readonly observed: ObservedStore;
  readonly log: Log;
  readonly buildId: string;
  readonly bootId: string;
  readonly patience: Patience;
  identity: Identity;
}

export async function openAgent(
  edges: Edges,
  config: Config,
  identity: Identity,
  repository: RepositoryClient,
  log: Log,
): Promise<Agent> {
  return {
    edges,
    config,
    identity,
    repository,
    log,
    store: await openJournal(edges),
    observed: await openObserved(edges),
    buildId: await runningBuildId(edges),
    bootId: await readBootId(edges),
    patience: { soakMs: config.soakSeconds * 1000, stuckMs: config.stuckAfterSeconds * 1000, unloadMs: UNLOAD_MS },
  };
}

export function channelOf(agent: Agent): Channel {
  return agent.config.channel ?? agent.identity.channel;
}

export async function now(edges: Edges): Promise<Moment> {
  return { at: edges.clock.now().toISOString(), uptime: await uptime(edges) };
}

/** Makes one transition durable, and logs the event it leaves. */
export async function commit(agent: Agent, change: (journal: Journal, moment: Moment) => Journal): Promise<Journal> {
  const moment = await now(agent.edges);
  const before = agent.store.journal;
  const after = await agent.store.update((journal) => change(journal, moment));
  const event = after.events.at(-1);
  if (event !== undefined && event !== before.events.at(-1)) {
    const level = /fail|refused|quarantined|stuck|damaged|conflict/.test(event.code) ? 'warn' : 'info';
    agent.log(level, event.message, { code: event.code, serial: event.serial });
  }
  return after;
}
