import { parseJson } from '@kmend/base';
import { Channel, HostId, Sha256 } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { assertThisMachine, notEnrolled } from './enrolled.ts';
import { saveDocument } from './save.ts';

/** What enrolment gave this host. Holds a secret: 0600, never logged. */
export const Identity = z.object({
  schema: z.literal('kmend.agent-identity/1'),
  hostId: HostId,
  token: z.string().min(1).max(500),
  channel: Channel,
  /**
   * The machine that was enrolled (kernel/machine.ts); `null`: it had no machine-id, or an earlier agent did not note
   * it.
   */
  machine: Sha256.nullable().default(null),
});
export type Identity = z.infer<typeof Identity>;

/**
 * Throws `not-enrolled` where there is none or it cannot be read, `other-machine` in a clone of the machine that was
 * enrolled.
 */
export async function loadIdentity(edges: Edges): Promise<Identity> {
  const text = await edges.files.text(paths.identity);
  const identity = text === undefined ? undefined : Identity.safeParse(parseJson(text)).data;
  if (identity === undefined) throw notEnrolled(text === undefined ? undefined : paths.identity);
  await assertThisMachine(edges, identity.machine);
  return identity;
}

export async function saveIdentity(edges: Edges, identity: Identity): Promise<void> {
  const file = { path: paths.identity, value: identity, mode: 0o600 };
  await saveDocument(edges, { directory: paths.fetcher, mode: 0o700 }, file);
}
