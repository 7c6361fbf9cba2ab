import { Blocker, HostStack, ObjectName, PendingKernel, Serial, Timestamp } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { openStored, readStored, Seen, type Stored } from './stored.ts';

/** What stood in the way of the last attempt, with the way out. */
export const Problem = z.object({
  code: z.string().max(64),
  message: z.string().max(2000),
  hint: z.string().max(500).optional(),
  at: Timestamp,
});
export type Problem = z.infer<typeof Problem>;

/** What the loader saw when it last looked; the fetcher and `status` read it. */
export const Observed = z.object({
  schema: z.literal('kmend.agent-observed/1'),
  coverage: Seen(['current', 'behind', 'not-covered']).nullable(),
  /**
   * Version of the signed timestamp role that this was decided by; a later contact with the same version confirms it.
   */
  version: z.int().min(1).nullable(),
  /** Serial the signed policy wants here. */
  chosen: Serial.nullable(),
  /** Why nothing was done although something could be; a reason of decide.ts. */
  reason: z.string().max(64).nullable(),
  /** When to consider again although nothing new came: a window opens, a delay ends. */
  wakeAt: Timestamp.nullable(),
  problem: Problem.nullable(),
  /** Tasks that held the transition up when it was last looked at; empty when none does. */
  blockers: z.array(Blocker).max(32),
  /** What packages do on this host; `null`: their loader is not installed, or was not looked at yet. */
  stack: HostStack.nullable().default(null),
  /** kmend's livepatches that the kernel showed then: where it shows others the packages have been at work. */
  shown: z.array(ObjectName).max(1000).default([]),
  /** The kernel that a reboot would bring; `null`: none. `file` tells its image from a later one (size and time). */
  pending: PendingKernel.omit({ serial: true })
    .extend({ file: z.string().max(64) })
    .nullable()
    .default(null),
});
export type Observed = z.infer<typeof Observed>;

export const nothingObserved: Observed = {
  schema: 'kmend.agent-observed/1',
  coverage: null,
  version: null,
  chosen: null,
  reason: null,
  wakeAt: null,
  problem: null,
  blockers: [],
  stack: null,
  shown: [],
  pending: null,
};

export type ObservedStore = Stored<Observed>;

const file = { path: paths.observed, schema: Observed, empty: nothingObserved };

export const openObserved = (edges: Edges): Promise<ObservedStore> => openStored(edges, { ...file, mode: 0o640 });
export const readObserved = (edges: Edges): Promise<Observed> => readStored(edges, file);
