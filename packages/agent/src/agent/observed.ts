import { Serial, Timestamp } from '@kmend/protocol';
import { z } from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { diskFull } from '../error.ts';

const Seen = <const S extends string>(states: readonly [S, ...S[]]) =>
  z.object({ state: z.enum(states), since: Timestamp, seen: Timestamp, detail: z.string().max(1000).optional() });

/** What the last checks saw; lives in /run, so that it never survives the boot that saw it. */
export const Observed = z.object({
  schema: z.literal('kmend.agent-observed/1'),
  contact: Seen(['ok', 'unreachable', 'untrusted']).nullable(),
  coverage: Seen(['current', 'behind', 'not-covered']).nullable(),
  /** Serial the signed policy wants here. */
  chosen: Serial.nullable(),
  /** Why nothing was done although something could be; a reason of decide.ts. */
  reason: z.string().max(64).nullable(),
  intervalSeconds: z.int().min(1),
  /** When the signed metadata expires. */
  expires: Timestamp.nullable(),
  /** What stood in the way of the last load. */
  problem: z
    .object({
      code: z.string().max(64),
      message: z.string().max(2000),
      hint: z.string().max(500).optional(),
      at: Timestamp,
    })
    .nullable(),
});
export type Observed = z.infer<typeof Observed>;

export const DEFAULT_INTERVAL_SECONDS = 300;

export const nothingObserved: Observed = {
  schema: 'kmend.agent-observed/1',
  contact: null,
  coverage: null,
  chosen: null,
  reason: null,
  intervalSeconds: DEFAULT_INTERVAL_SECONDS,
  expires: null,
  problem: null,
};

export interface ObservedStore {
  readonly value: Observed;
  save(value: Observed): Promise<void>;
}

export async function openObserved(edges: Edges): Promise<ObservedStore> {
  let value = await readObserved(edges);
  return {
    get value() {
      return value;
    },
    async save(next) {
      value = next;
      try {
        await edges.files.writeAtomic(paths.observed, `${JSON.stringify(next)}\n`, 0o600);
      } catch (error) {
        throw diskFull(error, paths.runtime) ?? error;
      }
    },
  };
}

/** Nothing was observed where the file is absent or not understood: the axes are then `unknown`. */
export async function readObserved(edges: Edges): Promise<Observed> {
  const text = await edges.files.text(paths.observed);
  if (text === undefined) return nothingObserved;
  try {
    return Observed.parse(JSON.parse(text));
  } catch {
    return nothingObserved;
  }
}

interface SeenState<S extends string> {
  readonly state: S;
  readonly since: string;
  readonly seen: string;
  readonly detail?: string | undefined;
}

/** A new observation of an axis: `since` stays while the state does. */
export function see<S extends string>(
  before: SeenState<S> | null,
  state: S,
  at: string,
  detail?: string,
): { state: S; since: string; seen: string; detail?: string } {
  const since = before?.state === state ? before.since : at;
  return { state, since, seen: at, ...(detail === undefined ? {} : { detail: detail.slice(0, 1000) }) };
}
