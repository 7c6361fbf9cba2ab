import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { advance } from '../agent/advance.ts';
import { type BootOutcome, boot, reconcileBoot } from '../agent/boot.ts';
import { commit } from '../agent/context.ts';
import { readStatus } from '../agent/status.ts';
import type { Edges } from '../edges/edges.ts';
import { AgentError, exitCodes } from '../error.ts';
import { enrol } from '../server/enrol.ts';
import { type Command, createActor, perform } from '../service/commands.ts';
import { askService } from '../service/control.ts';
import { notifyReady } from '../service/notify.ts';
import { runService } from '../service/run.ts';
import { createQueue, sleep } from '../service/sleep.ts';
import * as machine from '../state/machine.ts';
import { assertRoot, openSession, trustCertificates } from './session.ts';
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
  const { edges, terminal, signal } = context;
  const tell = (line: string): void => terminal.note(line);
  let result = await askService(command, tell, signal);
  if (result === undefined) {
    const { agent, lock } = await openSession(edges, {
      patient: true,
      journal: false,
      write: (line) => terminal.note(line.trimEnd()),
    });
    try {
      await reconcileBoot(agent);
      result = await perform(
        createActor(agent, createQueue(), signal, () => {}),
        command,
        signal,
        tell,
      );
    } finally {
      lock.release();
    }
  }
  terminal.result(result, commandText);
  return 0;
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

export async function run({ edges, env, uid, signal }: Context): Promise<number> {
  assertRoot(uid);
  const { agent, lock } = await openSession(edges, logging(env, true));
  try {
    const notify = (): Promise<void> => notifyReady(edges.run, env['NOTIFY_SOCKET'], 'watching');
    await runService(agent, signal, notify);
  } finally {
    lock.release();
  }
  return 0;
}

/** Longest that a boot waits for a transition; the service follows it further. */
const BOOT_WAIT_MS = 30_000;

export async function bootCommand({ edges, env, uid, signal, terminal }: Context): Promise<number> {
  assertRoot(uid);
  const { agent, lock } = await openSession(edges, logging(env, false));
  try {
    const outcome: BootOutcome = await boot(agent);
    const until = edges.clock.monotonic() + BOOT_WAIT_MS;
    while (!signal.aborted && edges.clock.monotonic() < until) {
      const state = machine.stateOf(agent.store.journal);
      if (state !== 'transition' && state !== 'replacing') break;
      await sleep(edges.clock, (await advance(agent)) ?? 0, signal);
    }
    const state = machine.stateOf(agent.store.journal);
    terminal.result({ outcome, state }, (it) => `boot: ${it.outcome} (${it.state})`);
  } finally {
    lock.release();
  }
  return 0;
}

export async function shutdown({ edges, env, uid, terminal }: Context): Promise<number> {
  assertRoot(uid);
  const { agent, lock } = await openSession(edges, logging(env, true));
  try {
    if (agent.store.journal.current !== null) await commit(agent, machine.markShutdown);
    terminal.result({ state: machine.stateOf(agent.store.journal) }, (it) => `shutdown noted (${it.state})`);
  } finally {
    lock.release();
  }
  return 0;
}

function logging(env: Context['env'], patient: boolean): Parameters<typeof openSession>[1] {
  return { patient, journal: env['JOURNAL_STREAM'] !== undefined, write: (line) => process.stderr.write(line) };
}

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
  await trustCertificates(caFile);
  const identity = await enrol(edges, {
    server: required(values, 'server'),
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
