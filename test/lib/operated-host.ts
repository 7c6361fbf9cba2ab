import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StatusDocument } from '@kmend/agent';
import { buildAgentPackage } from '@kmend/agent/package';
import { systemClock } from '@kmend/base/node';
import { MANIFEST } from '@kmend/builder';
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
import type { Host } from '@kmend/lab';
import { Livepatch } from '@kmend/protocol';

/** The agent itself waits before it says that it is busy. */
const BUSY_TIMES = 3;

/** One enrolled host with the agent, and an operator who builds and publishes for it; nothing is published at first. */
export class OperatedHost {
  readonly operator: Operator;
  readonly patched: PatchedHost;
  readonly #close: () => Promise<void>;
  #server: ServerProcess;

  private constructor(operator: Operator, server: ServerProcess, patched: PatchedHost, close: () => Promise<void>) {
    this.operator = operator;
    this.#server = server;
    this.patched = patched;
    this.#close = close;
  }

  static async make(name: string): Promise<OperatedHost> {
    const { signal } = new AbortController();
    const operator = await Operator.make(signal);
    const { lab, kernels } = openLab(operator.cache, signal);
    const close = async (): Promise<void> => {
      await lab.close();
      await operator.remove();
    };
    let server: ServerProcess | undefined;
    try {
      await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
      await importFixes((...args) => operator.kmend(...args), [...FIXES, MORE]);
      server = await operator.startServer();
      await operator.kmend('policy', 'fleet', '--check-interval', '86400');
      const { key } = await operator.kmend<{ key: string }>('key', 'create', '--name', 'lab', '--seats', '1');
      const preparation = await agentInstalled((await buildAgentPackage({ out: join(operator.home, 'deb') })).path);
      const host = await lab.boot(await kernels.open(KERNEL), { ...AGENT_HOST, name, preparation });
      const patched = new PatchedHost(host, lab, operator, systemClock);
      await patched.enrol(server, key, { soakSeconds: 1 });
      return new OperatedHost(operator, server, patched, close);
    } catch (error) {
      await server?.stop();
      await close();
      throw error;
    }
  }

  get host(): Host {
    return this.patched.host;
  }

  /**
   * Runs `kmend-agent ... --json` in the guest; again, as the agent's hint says, while its service has a turn of its
   * own.
   */
  async agent(...args: string[]) {
    const command = ['kmend-agent', ...args, '--json'];
    for (let left = BUSY_TIMES; ; left -= 1) {
      const { exitCode, stdout, stderr } = await this.host.run(command, { timeoutMs: 600_000 });
      const json = JSON.parse(stdout);
      if (json.error?.code !== 'busy' || left === 0) return { exitCode, json, text: `${stdout}${stderr}` };
    }
  }

  async status(): Promise<StatusDocument> {
    return (await this.agent('status')).json;
  }

  /** Codes of what happened on the host, oldest first. */
  async codes(): Promise<string[]> {
    const { json } = await this.agent('history');
    return json.events.map((it: { code: string }) => it.code);
  }

  /** Waits until what was loaded last has come through its soak. */
  async untilGood(): Promise<void> {
    const journal = '/var/lib/kmend-agent/loader/journal.json';
    await this.host.check(`until grep -Eq '"phase": ?"good"' ${journal}; do sleep 1; done`, { timeoutMs: 600_000 });
  }

  /** A check ends with that livepatch in force, or in its soak. */
  async takes(serial: number): Promise<void> {
    const { json, text } = await this.agent('check');
    assert.equal(json.serial, serial, text);
  }

  /** A check ends with that code, `doctor` says why, and the kernel was handed nothing. */
  async refused(code: string): Promise<void> {
    const { exitCode, json } = await this.agent('check');
    assert.deepEqual([exitCode, json.error?.code], [5, code]);
    assert.deepEqual(await this.patched.loadedModules(), []);
    const doctor = await this.agent('doctor');
    assert.equal(doctor.exitCode, 1);
    assert.match(doctor.text, new RegExp(code));
  }

  /** Builds a livepatch from fixes and publishes it. */
  async publish(name: string, ...ids: string[]): Promise<void> {
    const out = join(this.operator.home, name);
    await this.operator.kmend('build', '--kernel', KERNEL, '--fix', ...ids, '--out', out);
    await this.operator.kmend('publish', out, '--unproven');
  }

  /** A function of the kernel itself that the livepatch built as `name` patches. */
  async patchedFunction(name: string): Promise<string> {
    const manifest = Livepatch.parse(JSON.parse(await readFile(join(this.operator.home, name, MANIFEST), 'utf8')));
    const [first] = manifest.objects.find((it) => it.name === 'vmlinux')?.functions ?? [];
    assert.ok(first !== undefined);
    return first.name;
  }

  /** Lays configuration over the host's. */
  async configure(name: string, config: Readonly<Record<string, unknown>>): Promise<void> {
    await this.host.copyIn(Buffer.from(JSON.stringify(config)), `/etc/kmend-agent/config.d/${name}.json`);
    // A loader that is still there from the last order goes by what it read when it started.
    await this.host.check('sync && systemctl restart kmend-agent.service kmend-loader.service');
  }

  /** Switches the host on again, with more arguments for its kernel. */
  async bootWith(argument: string): Promise<void> {
    await this.host.shutdown();
    await this.host.start({ kernelArguments: [argument] });
  }

  /** Does something while nothing answers at the server's address. */
  async withoutServer<T>(work: () => Promise<T>): Promise<T> {
    await this.#server.stop();
    try {
      return await work();
    } finally {
      this.#server = await this.operator.startServer('--port', String(this.#server.port));
    }
  }

  async close(): Promise<void> {
    await this.#close();
    await this.#server.stop();
  }
}
