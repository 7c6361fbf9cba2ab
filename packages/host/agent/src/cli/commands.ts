import { readFile, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { parseJson } from '@kmend/base';
import { EnrolResponse, ReportFile } from '@kmend/protocol';
import { loadHost } from '../config/host.ts';
import { readStatus } from '../decide/document.ts';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError, exitCodes } from '../error.ts';
import { unreachable } from '../fetcher/consult.ts';
import { finishEnrolment, prepareEnrolment } from '../fetcher/enrol.ts';
import { assertOwnKernel } from '../kernel/place.ts';
import { askService } from '../service/control.ts';
import type { CommandResult, LoaderOrder } from '../service/orders.ts';
import { peekJournal } from '../state/store.ts';
import { asFetcher, type Outcome } from './as-fetcher.ts';
import { withCarried } from './carried.ts';
import type { Context, Values } from './context.ts';
import { diagnose } from './doctor.ts';
import { assertRoot } from './root.ts';
import { commandText, diagnosisText, historyText, statusText, unameText } from './text.ts';

/** Where a carried bundle lies while the fetcher reads it: root made it, everybody may read it. */
const BUNDLE = '/run/kmend-agent/bundle';

/** Checks now: one full turn of the fetcher, as its own user. */
export async function check(context: Context, values: Values): Promise<number> {
  await assertHost(context);
  const bundle = optional(values, 'bundle');
  const report = optional(values, 'report');
  if (bundle === undefined) return await once(context, report, []);
  return await withCarried(bundle, BUNDLE, () => once(context, report, ['--bundle', BUNDLE]));
}

/** Tells what is missing before anything is started: root asks, this host is enrolled, and the running kernel is its own. */
async function assertHost({ edges, uid }: Context): Promise<void> {
  assertRoot(uid);
  await loadHost(edges);
  await assertOwnKernel(edges);
}

function fetcher(
  { edges, env, signal, terminal }: Context,
  command: 'fetcher-once' | 'fetcher-enrol',
  args: readonly string[],
  stdin = '',
): Promise<Outcome> {
  return asFetcher(edges, [command, ...args], { env, signal, stdin, note: terminal.note });
}

async function once(context: Context, report: string | undefined, args: readonly string[]): Promise<number> {
  const { terminal } = context;
  const json = terminal.json || report !== undefined ? ['--json'] : [];
  const wanted = report === undefined ? [] : ['--report'];
  const { exitCode, stdout } = await fetcher(context, 'fetcher-once', [...args, ...wanted, ...json]);
  if (report === undefined || !ReportFile.safeParse(parseJson(stdout)).success) {
    terminal.raw(stdout);
    return exitCode;
  }
  await writeFile(report, stdout, { mode: 0o600 });
  terminal.result({ report }, () => `the report is in ${report}: carry it to the operator (kmend host import)`);
  return exitCode;
}

/** An order to the loader; what it then wants from the repository is fetched, once. */
async function order(context: Context, build: (fetched: number[]) => LoaderOrder): Promise<number> {
  await assertHost(context);
  const { terminal } = context;
  let result = await ask(context, build([]));
  if (result.action === 'fetch' && result.serial !== null) {
    terminal.note(`fetching serial ${result.serial}`);
    const { exitCode, stdout } = await fetcher(context, 'fetcher-once', ['--serial', String(result.serial)]);
    if (exitCode !== 0) {
      terminal.raw(stdout);
      return exitCode;
    }
    result = await ask(context, build([result.serial]));
  }
  terminal.result(result, commandText);
  return refusals.has(result.reason ?? '') ? exitCodes.failed : 0;
}

/** An order by hand that was not done for one of these was refused; the rest of the reasons mean that nothing had to be done. */
const refusals = new Set([
  'withdrawn',
  'halted',
  'quarantined',
  'switched-off',
  'busy',
  'not-covered',
  'nothing-chosen',
  'conflict-packages',
]);

async function ask({ terminal, signal }: Context, what: LoaderOrder): Promise<CommandResult> {
  const result = await askService(paths.loaderSocket, what, terminal.note, signal);
  if (result === undefined) throw unreachable(paths.loaderSocket);
  return result;
}

export const apply = (context: Context, values: Values): Promise<number> => {
  const serial = serialOf(values, 'serial');
  return order(context, (fetched) => ({ command: 'apply', serial, fetched }));
};
export const resume = (context: Context): Promise<number> => order(context, () => ({ command: 'resume' }));
export const revert = (context: Context, values: Values): Promise<number> => {
  const to = values['previous'] === true ? 'previous' : 'none';
  const untilNewer = values['until-newer'] === true;
  return order(context, (fetched) => ({ command: 'revert', to, untilNewer, fetched }));
};
export const hold = (context: Context, values: Values): Promise<number> => {
  const until = momentOf(values, 'until', context.edges.clock.now());
  const reason = (optional(values, 'reason') ?? 'held by hand').slice(0, 500);
  return order(context, () => ({ command: 'hold', until, reason }));
};

/** Replaces the packages' stack, by the newest word of the repository: where that cannot be had, by what was fetched before. */
export const consolidate = async (context: Context, values: Values): Promise<number> => {
  if (values['undo'] === true) return await order(context, () => ({ command: 'consolidate', undo: true, fetched: [] }));
  await assertHost(context);
  const { exitCode } = await fetcher(context, 'fetcher-once', ['--metadata']);
  if (exitCode !== 0) context.terminal.note('cannot reach the repository: using what was fetched before');
  return await order(context, (fetched) => ({ command: 'consolidate', undo: false, fetched }));
};

export async function status({ edges, terminal, uid }: Context): Promise<number> {
  assertRoot(uid);
  const document = await readStatus(edges);
  terminal.result(document, statusText);
  return document.exitCode;
}

export async function doctor({ edges, terminal, uid }: Context): Promise<number> {
  assertRoot(uid);
  const diagnosis = await diagnose(edges);
  terminal.result(diagnosis, diagnosisText);
  return diagnosis.exitCode;
}

export async function uname({ edges, terminal, uid }: Context): Promise<number> {
  assertRoot(uid);
  terminal.result(await readStatus(edges), unameText);
  return 0;
}

export async function history({ edges, terminal, uid }: Context): Promise<number> {
  assertRoot(uid);
  const { events } = await peekJournal(edges);
  terminal.result({ events }, historyText);
  return 0;
}

/** The acting half, with the repository client in it, is loaded only where it is needed: asking the service is quick. */
const act = (): Promise<typeof import('./act.ts')> => import('./act.ts');

export const fetcherOnce = async (context: Context, values: Values): Promise<number> =>
  (await act()).fetcherOnce(context, values);
export const fetcherEnrol = async (context: Context): Promise<number> => (await act()).fetcherEnrol(context);
export const loader = async (context: Context): Promise<number> => (await act()).loader(context);
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
    throw new AgentError('key-unreadable', 'the given file holds no activation key', {
      hint: 'give a file (or stdin) with only the key, as `kmend key create` printed it',
    });
  }
  const caFile = optional(values, 'ca');
  const repository = optional(values, 'repository');
  const server = required(values, 'server');
  const config = await prepareEnrolment(edges, {
    server,
    root,
    ...(repository === undefined ? {} : { repository }),
    ...(caFile === undefined ? {} : { caFile }),
    allowPlainHttp: values['allow-plain-http'] === true,
    again: values['again'] === true,
  });
  const stdin = JSON.stringify({ config, activationKey });
  const { exitCode, stdout } = await fetcher(context, 'fetcher-enrol', ['--json'], stdin);
  if (exitCode !== 0) {
    if (terminal.json) terminal.raw(stdout);
    return exitCode;
  }
  const { hostId, channel } = EnrolResponse.pick({ hostId: true, channel: true }).parse(parseJson(stdout));
  await finishEnrolment(edges, root, config, { hostId, channel });
  const started = values['no-start'] === true ? false : await startService(edges);
  terminal.result({ hostId, channel, started }, (it) =>
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
    throw new AgentError('usage', `--${name} is missing`, { hint: 'kmend-agent --help' });
  return value;
}

function serialOf(values: Values, name: string): number | null {
  const value = optional(values, name);
  if (value === undefined) return null;
  const serial = Number(value);
  if (Number.isInteger(serial) && serial >= 1 && serial < 2 ** 31) return serial;
  throw new AgentError('usage', `--${name} is a serial, not "${value}"`, { hint: 'kmend-agent status shows serials' });
}

/** An ISO 8601 moment, or a time from now such as `90m`, `8h`, `3d`; `null` where it is not given. */
function momentOf(values: Values, name: string, now: Date): string | null {
  const value = optional(values, name);
  if (value === undefined) return null;
  const units = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
  const [, count, unit] = /^(\d{1,5})([mhd])$/.exec(value) ?? [];
  const at = unit === undefined ? Date.parse(value) : now.getTime() + Number(count) * units[unit as keyof typeof units];
  if (Number.isFinite(at)) return new Date(at).toISOString();
  throw new AgentError('usage', `--${name} is a moment such as 2026-12-24T18:00 or 8h, not "${value}"`);
}

async function readGiven(path: string, code: 'root-invalid' | 'key-unreadable'): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new AgentError(code, `${path} cannot be read: ${String(error)}`, {
      cause: error,
      hint: 'check the path and its mode',
    });
  }
}
