import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildAgentPackage } from '@kmend/agent/deb';
import type { Progress } from '@kmend/base';
import { sha256File, systemClock } from '@kmend/base/node';
import { MANIFEST } from '@kmend/builder';
import { buildId, readElf } from '@kmend/elf';
import {
  AGENT_HOST,
  agentInstalled,
  FIXES,
  importFixes,
  KERNEL,
  MORE,
  Operator,
  openLab,
  PatchedHost,
  type ServerProcess,
  SUITE,
} from '@kmend/harness';
import type { Kernel } from '@kmend/kernel';
import type { Host, Lab } from '@kmend/lab';
import { Livepatch } from '@kmend/protocol';
import { type ApiClient, createApiClient, readOperatorToken } from '@kmend/server';
import { HostileMirror } from './faults/mirror.ts';
import { Faults } from './faults/shim.ts';

/** A livepatch that was really signed and published: whatever else is in a kernel is wrong there. */
export interface Published {
  readonly serial: number;
  readonly module: string;
  readonly sha256: string;
  /** GNU build id of the module file: what `/sys/module/<name>/notes` shows of it. */
  readonly buildId: string;
  /** It fixes the flaw whose reproducer is asked. */
  readonly fixes: boolean;
}

const DAY_S = 86_400;

/**
 * The flaw whose reproducer tells whether the livepatch is really in force: a plain call, quick and without side
 * effects.
 */
const FLAW = FIXES[0].id;

/** One patch server with two published livepatches, for any number of guests. */
export class Rig {
  readonly operator: Operator;
  readonly lab: Lab;
  readonly api: ApiClient;
  readonly kernel: Kernel;
  /** Serial 1, serial 2 with one fix more, and whatever was published since. */
  readonly published: Published[];
  /** The package of the agent that is tried. */
  readonly deb: string;
  readonly #key: string;
  readonly #cpus: number;
  #server: ServerProcess;
  #mirror: HostileMirror | undefined;
  #interval = DAY_S;

  private constructor(parts: {
    operator: Operator;
    lab: Lab;
    server: ServerProcess;
    api: ApiClient;
    kernel: Kernel;
    published: Published[];
    deb: string;
    key: string;
    cpus: number;
  }) {
    this.operator = parts.operator;
    this.lab = parts.lab;
    this.#server = parts.server;
    this.api = parts.api;
    this.kernel = parts.kernel;
    this.published = parts.published;
    this.deb = parts.deb;
    this.#key = parts.key;
    this.#cpus = parts.cpus;
  }

  /** `cpus`: of each guest. */
  static async make(signal: AbortSignal, progress: Progress, cpus: number): Promise<Rig> {
    const operator = await Operator.make(signal);
    const { lab, kernels } = openLab(operator.cache, signal, progress);
    let server: ServerProcess | undefined;
    try {
      progress.step('server and livepatches');
      await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
      await importFixes((...args) => operator.kmend(...args), [FIXES[0], FIXES[1], MORE]);
      server = await operator.startServer();
      // A day: each check is asked for, so that steps can be counted.
      await operator.kmend('policy', 'fleet', '--check-interval', String(DAY_S));
      const base = FIXES.slice(0, 2).map(({ id }) => id);
      const published = [await build(operator, 'one', base), await build(operator, 'two', [...base, MORE.id])];
      const { key } = await operator.kmend<{ key: string }>('key', 'create', '--name', 'faults', '--seats', '1000');
      const deb = (await buildAgentPackage({ out: join(operator.home, 'deb') })).path;
      const token = await readOperatorToken({ env: {}, file: join(operator.home, 'server', 'operator-token') });
      const api = createApiClient({ url: server.url, token, signal });
      return new Rig({ operator, lab, server, api, kernel: await kernels.open(KERNEL), published, deb, key, cpus });
    } catch (error) {
      await lab.close();
      await server?.stop();
      await operator.remove();
      throw error;
    }
  }

  /** A new guest with the agent of this checkout, enrolled, and the faults' library in it. */
  async guest(name: string, config: Readonly<Record<string, unknown>> = {}): Promise<Guest> {
    const preparation = await agentInstalled(this.deb);
    const options = { ...AGENT_HOST, name, cpus: this.#cpus, preparation };
    const host = await this.lab.boot(this.kernel, options);
    const patched = new PatchedHost(host, this.lab, this.operator, systemClock);
    const faults = await Faults.install(host);
    const reproducer = '/usr/local/lib/kmend-lab-reproducer';
    await host.copyIn(await this.lab.reproducer(FLAW), reproducer, 0o755);
    await patched.enrol(this.#server, this.#key, { soakSeconds: 1, ...config });
    return { host, patched, faults, reproducer };
  }

  /** Enrols a host again: one that never was, or with `--again` as another one. */
  async enrol({ patched }: Guest, ...more: readonly string[]): Promise<void> {
    await patched.enrol(this.#server, this.#key, { soakSeconds: 1 }, more);
  }

  /** Says which serial hosts are to run. */
  async choose(serial: number): Promise<void> {
    const change = { channels: { stable: { settled: serial, rollout: null } } };
    await this.api.setKernelPolicy(this.kernel.buildId, change);
  }

  /** Signs the fleet's policy again: newer metadata, without anything new in it. */
  async signAnew(): Promise<void> {
    this.#interval = this.#interval === DAY_S ? DAY_S - 1 : DAY_S;
    await this.api.setFleetPolicy({ checkIntervalSeconds: this.#interval });
  }

  /** Signs and publishes what `kmend build --out` left in a folder, once. */
  async publish(folder: string): Promise<Published> {
    const { module } = await manifestOf(folder);
    const known = this.published.find((it) => it.module === module);
    if (known !== undefined) return known;
    const added = await publish(this.operator, folder);
    this.published.push(added);
    return added;
  }

  /** A mirror of the repository that can turn hostile. */
  async mirror(): Promise<HostileMirror> {
    const data = join(this.operator.home, 'server');
    this.#mirror ??= await HostileMirror.start({
      repository: join(data, 'repository'),
      onlineKeys: join(data, 'keys'),
      offlineKeys: join(this.operator.home, 'keys'),
      clock: systemClock,
    });
    return this.#mirror;
  }

  /** Does something while nothing answers at the server's address. */
  async withoutServer<T>(work: () => Promise<T>): Promise<T> {
    const { port } = this.#server;
    await this.#server.stop();
    try {
      return await work();
    } finally {
      this.#server = await this.operator.startServer('--port', String(port));
    }
  }

  async close(): Promise<void> {
    await this.lab.close();
    await this.#mirror?.close();
    await this.#server.stop();
    await this.operator.remove();
  }
}

export interface Guest {
  readonly host: Host;
  readonly patched: PatchedHost;
  readonly faults: Faults;
  /** The program in the guest that tells whether the flaw is there. */
  readonly reproducer: string;
}

async function build(operator: Operator, name: string, ids: readonly string[]): Promise<Published> {
  const out = join(operator.home, name);
  await operator.kmend('build', '--kernel', KERNEL, '--fix', ...ids, '--out', out);
  return await publish(operator, out);
}

async function publish(operator: Operator, folder: string): Promise<Published> {
  const { serial } = await operator.kmend<{ serial: number }>('publish', folder, '--unproven');
  const { file, module, fixes } = await manifestOf(folder);
  if (file === undefined || module === undefined) throw new Error(`${folder} holds no livepatch`);
  const path = join(folder, file.name);
  const id = buildId(readElf(await readFile(path)));
  if (id === undefined) throw new Error(`${path} has no build id`);
  return { serial, module, sha256: await sha256File(path), buildId: id, fixes: fixes.some((it) => it.id === FLAW) };
}

async function manifestOf(folder: string): Promise<Livepatch> {
  return Livepatch.parse(JSON.parse(await readFile(join(folder, MANIFEST), 'utf8')));
}
