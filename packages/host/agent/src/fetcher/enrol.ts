import { dirname } from 'node:path';
import { EnrolResponse } from '@kmend/protocol';
import * as z from 'zod';
import { saveHost } from '../config/host.ts';
import { type Identity, saveIdentity } from '../config/identity.ts';
import { assertPrivate } from '../config/load.ts';
import { Config, ServerUrl } from '../config/schema.ts';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError } from '../error.ts';
import { readFacts } from '../kernel/facts.ts';
import { readMachineId } from '../kernel/machine.ts';
import { assertOwnKernel } from '../kernel/place.ts';
import { sweep } from '../state/sweep.ts';
import { post } from './http.ts';

export interface Enrolment {
  readonly server: string;
  /** Bytes of the trusted root.json. */
  readonly root: string;
  readonly repository?: string;
  readonly caFile?: string;
  readonly allowPlainHttp: boolean;
  /** Enrol again although the host is enrolled: it becomes another host for the server. */
  readonly again: boolean;
}

/** Just enough to know that it is a root; the repository client verifies it. TUF specification 1.0.34, section 4.3. */
const RootShape = z.object({
  signed: z.object({ _type: z.literal('root'), version: z.int().min(1) }),
  signatures: z.array(z.unknown()),
});

/** What the fetcher's user is given to buy a seat with: the configuration to be, and the key. */
export const EnrolRequest = z.object({
  config: Config,
  activationKey: z.string().min(8).max(200),
});
export type EnrolRequest = z.infer<typeof EnrolRequest>;

/** Looks at all that can be wrong on this host before the server is asked, so that a seat is not spent for nothing. */
export async function prepareEnrolment(edges: Edges, enrolment: Enrolment): Promise<z.input<typeof Config>> {
  await assertOwnKernel(edges);
  const known = (await edges.files.text(paths.host)) ?? (await edges.files.text(paths.identity));
  const enrolled = known !== undefined && (await edges.files.text(paths.config)) !== undefined;
  if (!enrolment.again && enrolled) {
    throw new AgentError('already-enrolled', 'this host is enrolled already', {
      hint: 'kmend-agent status shows its id; --again enrols it as a new host, with a new seat',
    });
  }
  const config = configOf(enrolment);
  assertRoot(enrolment.root);
  await readFacts(edges);
  return config;
}

/** Buys a seat with the activation key and keeps the answer. The part that talks to the network. */
export async function buySeat(edges: Edges, { config, activationKey }: EnrolRequest): Promise<Identity> {
  const facts = await readFacts(edges);
  const { hostId, token, channel } = await ask(edges, config, activationKey, facts);
  const machine = facts.machineId ?? null;
  const identity: Identity = { schema: 'kmend.agent-identity/1', hostId, token, channel, machine };
  await saveIdentity(edges, identity);
  return identity;
}

/** Root's half after the seat: what it trusts, who this host is, then the configuration. */
export async function finishEnrolment(
  edges: Edges,
  root: string,
  config: z.input<typeof Config>,
  { hostId, channel }: Pick<Identity, 'hostId' | 'channel'>,
): Promise<void> {
  await saveHost(edges, { schema: 'kmend.agent-host/1', hostId, channel, machine: await readMachineId(edges) });
  await sweep(edges, dirname(paths.config));
  await edges.files.writeAtomic(paths.trustedRoot, root, 0o644);
  await edges.files.writeAtomic(paths.config, `${JSON.stringify(config, null, 2)}\n`, 0o644);
}

/** What gets written: only what was said, so that later defaults reach this host too. */
function configOf(enrolment: Enrolment): z.input<typeof Config> {
  const { server, repository, caFile, allowPlainHttp } = enrolment;
  const config = {
    server,
    ...(repository === undefined ? {} : { repository }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(allowPlainHttp ? { allowPlainHttp } : {}),
  };
  const parsed = Config.safeParse(config);
  if (!parsed.success) {
    throw new AgentError('config-invalid', `the configuration is not valid: ${z.prettifyError(parsed.error)}`, {
      hint: '--server and --repository are http or https URLs, --ca is an absolute path',
    });
  }
  assertPrivate(server, allowPlainHttp);
  return { ...config, server: ServerUrl.parse(server) };
}

function assertRoot(root: string): void {
  try {
    RootShape.parse(JSON.parse(root));
  } catch (error) {
    throw new AgentError('root-invalid', 'the file given with --root is not a TUF root.json', {
      cause: error,
      hint: 'get it from the operator by a way that you trust: it decides whose livepatches this host loads',
    });
  }
}

async function ask(
  edges: Edges,
  { server }: { server: string },
  activationKey: string,
  facts: Awaited<ReturnType<typeof readFacts>>,
): Promise<z.infer<typeof EnrolResponse>> {
  try {
    return await post(edges, { url: `${server}/v1/enrol`, body: { activationKey, facts }, answer: EnrolResponse });
  } catch (error) {
    // The server's codes about the key itself; anything else is not the key's fault.
    const server =
      error instanceof AgentError && error.code === 'server-refused' ? error.details?.['server'] : undefined;
    if (error instanceof AgentError && typeof server === 'string' && server.startsWith('key-')) {
      throw new AgentError(
        'key-refused',
        error.message.replace('the server refused', 'the activation key was refused'),
        {
          cause: error,
          ...(error.details === undefined ? {} : { details: error.details }),
          hint: error.hint ?? 'ask for a key that is valid, not revoked, and has a seat left',
        },
      );
    }
    throw error;
  }
}
