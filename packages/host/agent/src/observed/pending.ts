import { parseJson } from '@kmend/base';
import { type PendingKernel, Serial } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import type { Observed } from './observed.ts';
import { openStored, type Stored } from './stored.ts';

/**
 * What the fetcher brought ahead for the kernel that a reboot would bring. The loader verifies it when that kernel
 * runs.
 */
export const Ahead = z.object({
  schema: z.literal('kmend.agent-ahead/1'),
  buildId: z.string().max(64).nullable(),
  serial: Serial.nullable(),
});
export type Ahead = z.infer<typeof Ahead>;

const nothing: Ahead = { schema: 'kmend.agent-ahead/1', buildId: null, serial: null };

export const openAhead = (edges: Edges): Promise<Stored<Ahead>> =>
  openStored(edges, { path: paths.ahead, schema: Ahead, empty: nothing, mode: 0o600 });

/** For status and report. Its serial is the fetcher's statement: shown, and not trusted by the loader. */
export async function pendingOf(edges: Edges, { pending }: Pick<Observed, 'pending'>): Promise<PendingKernel | null> {
  if (pending === null) return null;
  const { release, buildId } = pending;
  const text = await edges.files.text(paths.ahead).catch(() => undefined);
  const ahead = text === undefined ? undefined : Ahead.safeParse(parseJson(text)).data;
  return { release, buildId, serial: buildId !== null && ahead?.buildId === buildId ? ahead.serial : null };
}
