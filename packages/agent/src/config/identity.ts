import { parseJson } from '@kmend/base';
import { Channel, HostId } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError, diskError } from '../error.ts';

/** What enrolment gave this host. Holds a secret: 0600, never logged. */
export const Identity = z.object({
  schema: z.literal('kmend.agent-identity/1'),
  hostId: HostId,
  token: z.string().min(1).max(500),
  channel: Channel,
});
export type Identity = z.infer<typeof Identity>;

/** Throws `not-enrolled` where there is none or it cannot be read. */
export async function loadIdentity(edges: Edges): Promise<Identity> {
  const text = await edges.files.text(paths.identity);
  if (text !== undefined) {
    const parsed = Identity.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
  }
  const what = text === undefined ? 'this host is not enrolled' : `${paths.identity} is damaged`;
  throw new AgentError('not-enrolled', what, {
    hint: 'kmend-agent enrol --server URL --key-file FILE --root FILE',
  });
}

export async function saveIdentity(edges: Edges, identity: Identity): Promise<void> {
  try {
    await edges.files.directory(paths.fetcher, 0o700);
    await edges.files.writeAtomic(paths.identity, `${JSON.stringify(identity)}\n`, 0o600);
  } catch (error) {
    throw diskError(error, paths.fetcher);
  }
}
