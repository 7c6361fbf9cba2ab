import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { errorCode } from '@kmend/base';
import { readStatus } from '../agent/status.ts';
import type { Edges } from '../edges/edges.ts';
import { AgentError, exitCodes } from '../error.ts';
import { enrol } from '../server/enrol.ts';
import { askService } from '../service/control.ts';
import type { Command, CommandResult } from '../service/orders.ts';
import { trustCertificates } from './certificates.ts';
import { assertRoot } from './root.ts';
import type { Terminal } from './terminal.ts';
import { commandText, statusText } from './text.ts';

export interface Context {
  readonly edges: Edges;
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number | undefined;
  readonly stdin: NodeJS.ReadableStream;
  readonly signal: AbortSignal;
}

export type Values = Readonly<Record<string, string | boolean | undefined>>;

/** Asks the service, or acts in this process where none is running. */
async function order(context: Context, command: Command): Promise<number> {
  assertRoot(context.uid);
  const { terminal, signal } = context;
  const tell = (line: string): void => terminal.note(line);
  const result = await askOrAct(context, command, tell, signal);
  terminal.result(result, commandText);
  return 0;
}

/** Rounds of asking the service and waiting for the lock; each waits ten seconds at most. */
const ROUNDS = 3;

/** A service that is just starting holds the lock but does not answer yet: it is asked again before anyone is told to wait. */
async function askOrAct(
  context: Context,
  command: Command,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<CommandResult> {
  for (let round = 1; ; round++) {
    const answer = await askService(command, tell, signal);
    if (answer !== undefined) return answer;
    try {
      return await (await act()).orderHere(context, command);
    } catch (error) {
      if (errorCode(error) !== 'busy' || round === ROUNDS) throw error;
    }
  }
}

export const check = (context: Context): Promise<number> => order(context, { command: 'check' });
export const resume = (context: Context): Promise<number> => order(context, { command: 'resume' });
export const revert = (context: Context, values: Values): Promise<number> =>
  order(context, { command: 'revert', untilNewer: values['until-newer'] === true });

export async function status({ edges, terminal, uid }: Context): Promise<number> {
  assertRoot(uid);
  const document = await readStatus(edges);
  terminal.result(document, statusText);
  return document.exitCode;
}

/** The acting half, with the repository client in it, is loaded only where it is needed: asking the service is quick. */
const act = (): Promise<typeof import('./act.ts')> => import('./act.ts');

export const run = async (context: Context): Promise<number> => (await act()).run(context);
export const bootCommand = async (context: Context): Promise<number> => (await act()).bootCommand(context);
export const shutdown = async (context: Context): Promise<number> => (await act()).shutdown(context);

export async function enrolCommand(context: Context, values: Values): Promise<number> {
  assertRoot(context.uid);
  const { edges, terminal } = context;
  const root = await readGiven(required(values, 'root'), 'root-invalid');
  const keyFile = required(values, 'key-file');
  const key = keyFile === '-' ? await text(context.stdin) : await readGiven(keyFile, 'key-unreadable');
  const activationKey = key.trim();
  if (!/^[\x21-\x7e]{8,200}$/.test(activationKey)) {
    throw new AgentError('key-unreadable', 'there is no activation key in what was given', {
      hint: 'a file (or stdin) with the key alone, as `kmend key create` printed it',
    });
  }
  const caFile = optional(values, 'ca');
  const repository = optional(values, 'repository');
  const server = required(values, 'server');
  await trustCertificates([server], caFile);
  const identity = await enrol(edges, {
    server,
    activationKey,
    root,
    ...(repository === undefined ? {} : { repository }),
    ...(caFile === undefined ? {} : { caFile }),
    allowPlainHttp: values['allow-plain-http'] === true,
    again: values['again'] === true,
  });
  const started = values['no-start'] === true ? false : await startService(edges);
  terminal.result({ hostId: identity.hostId, channel: identity.channel, started }, (it) =>
    [
      `enrolled as ${it.hostId}, channel ${it.channel}`,
      it.started ? '' : 'start it: systemctl restart kmend-agent',
    ].join('\n'),
  );
  return exitCodes.latest;
}

async function startService(edges: Edges): Promise<boolean> {
  if (!(await edges.files.isDirectory('/run/systemd/system'))) return false;
  const { exitCode } = await edges.run('/bin/systemctl', ['--no-block', 'restart', 'kmend-agent.service'], {
    timeoutMs: 30_000,
  });
  return exitCode === 0;
}

function optional(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

function required(values: Values, name: string): string {
  const value = optional(values, name);
  if (value === undefined || value === '')
    throw new AgentError('usage', `--${name} is needed`, { hint: 'kmend-agent --help' });
  return value;
}

async function readGiven(path: string, code: 'root-invalid' | 'key-unreadable'): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new AgentError(code, `${path} cannot be read: ${String(error)}`, {
      cause: error,
      hint: 'look at the path and its mode',
    });
  }
}
