import type { Channel } from '@kmend/protocol';
import type { RepositoryClient } from '@kmend/trust';
import type { Identity } from '../config/identity.ts';
import type { Config } from '../config/schema.ts';
import type { Edges } from '../edges/edges.ts';
import { readBootId } from '../kernel/facts.ts';
import { runningBuildId } from '../kernel/notes.ts';
import type { Log } from '../log.ts';
import { type ContactStore, openContact } from '../seen/contact.ts';
import { openReportState, type ReportStateStore } from './report-state.ts';

/** What the fetcher works on: the network, its own cache, and what the loader lets it read. It decides nothing. */
export interface Fetcher {
  readonly edges: Edges;
  readonly config: Config;
  readonly repository: RepositoryClient;
  readonly contact: ContactStore;
  readonly reports: ReportStateStore;
  readonly log: Log;
  /** Of the process: where the proxy may be named. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until a URL's server may be asked again: it said so (Retry-After); 0: now. */
  readonly pauseMs: (url: string) => number;
  readonly buildId: string;
  readonly bootId: string;
  identity: Identity;
}

/** What a fetcher is opened with; the rest is read from the host. */
export type FetcherParts = Pick<Fetcher, 'edges' | 'config' | 'identity' | 'repository' | 'log' | 'env' | 'pauseMs'>;

export async function openFetcher(parts: FetcherParts): Promise<Fetcher> {
  const { edges } = parts;
  return {
    ...parts,
    contact: await openContact(edges),
    reports: await openReportState(edges),
    buildId: await runningBuildId(edges),
    bootId: await readBootId(edges),
  };
}

export function channelOf({ config, identity }: Pick<Fetcher, 'config' | 'identity'>): Channel {
  return config.channel ?? identity.channel;
}
