import { basename } from 'node:path';
import type { PackagedHost } from '@kmend/harness';

/** What one way of having the fixes costs. */
export interface Cost {
  /** Of module code and data, as the kernel counts it. */
  readonly memoryBytes: number;
  /** From the package manager's call until all is in force. */
  readonly installSeconds: number;
  /** That the boot unit takes until all is in force, and whatever has to be done after it. */
  readonly bootSeconds: number;
  /** Sum of the transitions of the installation. */
  readonly transitionSeconds: number;
  /** Of a call of the function that every layer patches. */
  readonly callNs: number;
  readonly functionsCoveredSeveralTimes: number;
}

const MINUTES = 60_000;
const PROGRAM = '/usr/local/lib/kmend-bench-calls';

/** Nanoseconds of a call of getppid(2), by the bench's own program. */
export async function callNs({ host }: PackagedHost, program: string): Promise<number> {
  await host.copyIn(program, PROGRAM, 0o755);
  return Number(await host.check([PROGRAM], { timeoutMs: 5 * MINUTES }));
}

/** Installs packages in one run of dpkg, as apt would after it has fetched them. Seconds until the loader is done. */
export async function install({ host }: PackagedHost, debs: readonly string[]): Promise<number> {
  const names = [];
  for (const deb of debs) {
    const path = `/root/${basename(deb)}`;
    await host.copyIn(deb, path);
    names.push(path);
  }
  return await timed(host, `dpkg --install ${names.join(' ')} >/root/dpkg.log`);
}

/**
 * What the retry timer does within minutes, at once: the package manager's run and the boot unit begin nothing after
 * their time is over, which an emulated host with a deep stack needs more than once.
 */
const ALL_OF_IT = 'until kmend-livepatch status >/dev/null; do kmend-livepatch sync >/dev/null || :; done';

/** Installs livepatches, measures, and boots with them. */
export async function costOf(host: PackagedHost, debs: readonly string[], program: string): Promise<Cost> {
  const installSeconds = (await install(host, debs)) + (await timed(host.host, ALL_OF_IT));
  const measure = await host.measure();
  const seconds = measure.livepatches.map((it) => it.transitionSeconds ?? Number.NaN);
  const call = await callNs(host, program);
  await host.host.reboot();
  const restSeconds = await timed(host.host, ALL_OF_IT);
  return {
    memoryBytes: measure.memoryBytes,
    installSeconds,
    bootSeconds: (await unitSeconds(host)) + restSeconds,
    transitionSeconds: seconds.reduce((sum, each) => sum + each, 0),
    callNs: call,
    functionsCoveredSeveralTimes: measure.functionsCoveredSeveralTimes,
  };
}

async function timed(host: PackagedHost['host'], command: string): Promise<number> {
  const script = `read -r begin rest </proc/uptime; ${command} || exit 1; read -r end rest </proc/uptime; echo "$begin $end"`;
  const said = await host.check(script, { timeoutMs: 30 * MINUTES });
  const [begin = Number.NaN, end = Number.NaN] = (said.split('\n').at(-1) ?? '').split(' ').map(Number);
  return end - begin;
}

/** That the boot unit ran in this boot. */
async function unitSeconds({ host }: PackagedHost): Promise<number> {
  const properties = ['ExecMainStartTimestampMonotonic', 'ExecMainExitTimestampMonotonic'];
  const text = await host.check([
    'systemctl',
    'show',
    '--value',
    ...properties.map((it) => `--property=${it}`),
    'kmend-livepatch.service',
  ]);
  const [start = Number.NaN, exit = Number.NaN] = text.split('\n').map(Number);
  return (exit - start) / 1_000_000;
}
