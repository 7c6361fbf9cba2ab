import { parseJson } from '@kmend/base';
import { Channel, HostId, Sha256 } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { readMachineId } from '../kernel/machine.ts';
import { assertThisMachine, notEnrolled } from './enrolled.ts';
import { Identity } from './identity.ts';
import { saveDocument } from './save.ts';

/**
 * Who this host is, on root's side: the fetcher cannot give it another place in a rollout, or another channel than the
 * server said.
 */
export const Host = z.object({
  schema: z.literal('kmend.agent-host/1'),
  hostId: HostId,
  channel: Channel,
  /** The machine that was enrolled (kernel/machine.ts); `null`: it had no machine-id. */
  machine: Sha256.nullable(),
});
export type Host = z.infer<typeof Host>;

/** Throws `not-enrolled`, and `other-machine` where this is a clone of the machine that was enrolled. */
export async function loadHost(edges: Edges): Promise<Host> {
  const text = await edges.files.text(paths.host);
  const host = text === undefined ? await enrolledBefore(edges) : Host.safeParse(parseJson(text)).data;
  if (host === undefined) throw notEnrolled(text === undefined ? undefined : paths.host);
  await assertThisMachine(edges, host.machine);
  return host;
}

/** An agent that kept it with the fetcher enrolled this host. */
async function enrolledBefore(edges: Edges): Promise<Host | undefined> {
  const text = await edges.files.text(paths.identity);
  const found = text === undefined ? undefined : Identity.safeParse(parseJson(text)).data;
  if (found === undefined) return undefined;
  const { hostId, channel, machine } = found;
  return { schema: 'kmend.agent-host/1', hostId, channel, machine: machine ?? (await readMachineId(edges)) };
}

export async function saveHost(edges: Edges, host: Host): Promise<void> {
  await saveDocument(edges, { directory: paths.loader, mode: 0o750 }, { path: paths.host, value: host, mode: 0o640 });
}
