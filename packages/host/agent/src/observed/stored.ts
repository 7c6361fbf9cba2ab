import { errorCode, parseJson } from '@kmend/base';
import { Timestamp } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { diskError } from '../error.ts';

/**
 * A small document in /run that one process writes and others read: what was seen, which never survives the boot that
 * saw it.
 */
export interface Stored<T> {
  readonly value: T;
  save(value: T): Promise<void>;
}

export async function openStored<T>(
  edges: Edges,
  { path, schema, empty, mode }: { path: string; schema: z.ZodType<T>; empty: T; mode: number },
): Promise<Stored<T>> {
  let value: T = await readStored<T>(edges, { path, schema, empty });
  return {
    get value() {
      return value;
    },
    async save(next) {
      value = next;
      try {
        await edges.files.writeAtomic(path, `${JSON.stringify(next)}\n`, mode);
      } catch (error) {
        throw diskError(error, path);
      }
    },
  };
}

/** Nothing was seen where the file is absent, not understood, or no file at all: the axes are then `unknown`. */
export async function readStored<T>(
  edges: Edges,
  { path, schema, empty }: { path: string; schema: z.ZodType<T>; empty: T },
): Promise<T> {
  const text = await edges.files.text(path).catch((error: unknown) => {
    if (errorCode(error) === 'repository-garbage') return undefined;
    throw error;
  });
  const parsed = schema.safeParse(text === undefined ? undefined : parseJson(text));
  return parsed.success ? parsed.data : empty;
}

export const Seen = <const S extends string>(states: readonly [S, ...S[]]) =>
  z.object({ state: z.enum(states), since: Timestamp, seen: Timestamp, detail: z.string().max(1000).optional() });

export interface SeenState<S extends string> {
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
