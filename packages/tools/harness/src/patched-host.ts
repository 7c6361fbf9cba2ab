import type { Clock } from '@kmend/base';
import {
  type BootOptions,
  codeInForce,
  complaints,
  type Host,
  type Lab,
  OPERATOR_ADDRESS,
  type Preparation,
} from '@kmend/lab';
import type { HostDetail, HostSummary } from '@kmend/protocol';
import type { Operator, ServerProcess } from './operator.ts';
import { subjectOf } from './subject.ts';

/** Each look starts programs, on a machine that has enough to do with the guest. */
const POLL_MS = 2_000;

/** For what takes half a minute of processor time: a busy machine takes twenty times as long in an emulated guest. */
const SLOW_MS = 1_800_000;

/** Hosts that the agent is tried on are of one kind, so that they share one saved machine, with the agent installed. */
export const AGENT_HOST = {
  // One processor: two guests at a time share the two of a small machine.
  cpus: 1,
  reachesOperator: true,
  kernelArguments: [
    // Every module that the kernel takes is written down, from the first moment of every boot (campaign).
    'trace_event=module:module_load',
    // Reboots after a panic, as unattended hosts are configured.
    'panic=1',
    // An emulated processor that stood still for minutes, because its emulator did, is no fault of the host's.
    'nowatchdog',
  ],
} as const satisfies Partial<BootOptions>;

/**
 * For `Lab.boot`: a host with the agent's package installed. An emulated one takes minutes to unpack it, once for each
 * agent: other documents in the package make no other agent.
 */
export async function agentInstalled(deb: string): Promise<Preparation> {
  return { key: `agent ${await subjectOf(deb)}`, prepare: (host) => installPackage(host, deb) };
}

async function installPackage(host: Host, deb: string): Promise<void> {
  const copy = '/root/kmend-agent.deb';
  await host.copyIn(deb, copy);
  await host.check(['dpkg', '--install', copy], { timeoutMs: SLOW_MS });
}

/** A lab host with the agent on it, and what the operator sees of it. */
export class PatchedHost {
  readonly host: Host;
  readonly #lab: Lab;
  readonly #operator: Operator;
  readonly #clock: Clock;

  constructor(host: Host, lab: Lab, operator: Operator, clock: Clock) {
    this.host = host;
    this.#lab = lab;
    this.#operator = operator;
    this.#clock = clock;
  }

  /** Installs the agent's package, as `apt-get install ./kmend-agent.deb` would. */
  async install(deb: string): Promise<void> {
    await installPackage(this.host, deb);
  }

  /** Enrols with an activation key. `config`: drop-in configuration; `more`: further words for the command. */
  async enrol(
    server: ServerProcess,
    key: string,
    config: Readonly<Record<string, unknown>> = {},
    more: readonly string[] = [],
  ): Promise<void> {
    await this.host.copyIn(Buffer.from(`${key}\n`), '/root/activation-key', 0o600);
    await this.host.copyIn(server.root, '/root/root.json');
    if (Object.keys(config).length > 0) {
      await this.host.copyIn(Buffer.from(JSON.stringify(config)), '/etc/kmend-agent/config.d/50-lab.json');
    }
    // QEMU's user network ends at this machine's loopback: nothing of it is on any wire.
    const address = ['--server', `http://${OPERATOR_ADDRESS}:${server.port}`, '--allow-plain-http'];
    await this.host.check(
      ['kmend-agent', 'enrol', ...address, '--key-file', '/root/activation-key', '--root', '/root/root.json', ...more],
      { timeoutMs: SLOW_MS },
    );
  }

  /** What the reproducer of a fix says inside the guest, as an unprivileged user. */
  async reproduce(id: string): Promise<string> {
    const path = `/run/reproducer-${id}`;
    await this.host.copyIn(await this.#lab.reproducer(id), path, 0o755);
    return (await this.host.run([path], { user: 'nobody' })).stdout.trim();
  }

  /** `kernel`, or the name of the livepatch whose code a call of the function reaches. */
  async codeOf(functionName: string): Promise<{ readonly text: string; readonly evidence: readonly string[] }> {
    const { source, livepatch, evidence } = await codeInForce(this.host, functionName);
    return { text: source === 'kernel' ? 'the kernel' : `livepatch ${livepatch ?? ''}`, evidence };
  }

  /** Livepatch modules in memory, by name. */
  async loadedModules(): Promise<string[]> {
    const text = await this.host.check("awk '$1 ~ /^kmend_/ { print $1 }' /proc/modules");
    return text.split('\n').filter((name) => name !== '');
  }

  /** Waits until the agent has unloaded what was replaced; what is in memory then, or after 20 seconds. */
  async modulesAfterUnload(): Promise<string[]> {
    const until = this.#clock.monotonic() + 20_000;
    for (;;) {
      const names = await this.loadedModules();
      if (names.length <= 1 || this.#clock.monotonic() > until) return names;
      await this.#clock.sleep(POLL_MS);
    }
  }

  /** The operator's view of this host. */
  async seen(): Promise<HostDetail> {
    const { hosts } = await this.#operator.kmend<{ hosts: HostSummary[] }>('host', 'list', '--search', this.host.name);
    const own = hosts.find(({ hostname }) => hostname === this.host.name);
    if (own === undefined) throw new Error(`the server knows no host ${this.host.name}`);
    return await this.#operator.kmend<HostDetail>('host', 'show', own.id);
  }

  /** Waits until the server shows that a serial is in force for every task. */
  async untilReported(serial: number | null, timeoutMs = 600_000): Promise<HostDetail> {
    const until = this.#clock.monotonic() + timeoutMs;
    for (;;) {
      const detail = await this.seen();
      const { loaded, transition } = detail.status;
      const settled =
        serial === null ? loaded.state === 'none' : loaded.state === 'loaded' && transition.state === 'complete';
      if (settled && detail.effectiveSerial === serial) return detail;
      if (this.#clock.monotonic() > until) {
        throw new Error(
          `${this.host.name} did not report serial ${serial} in time: ${JSON.stringify(detail, null, 1)}`,
        );
      }
      await this.#clock.sleep(POLL_MS);
    }
  }

  /** Lines of the kernel log that must not be there. */
  async complaints(): Promise<string[]> {
    return complaints(await this.host.kernelLog());
  }
}
