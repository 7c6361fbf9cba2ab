import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Clock, createQueue, type RunResult } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { buildIdOf } from '@kmend/elf';
import { kernelNotes } from '@kmend/rules/testing';
import type { Edges, Files } from '../edges/edges.ts';
import { nodeFiles } from '../edges/node.ts';

/** Where a test sets the time. */
export class TestClock implements Clock {
  ms = Date.parse('2026-11-01T00:00:00Z');
  now(): Date {
    return new Date(this.ms);
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(ms: number): Promise<void> {
    this.ms += ms;
  }
}

export const BUILD_ID = 'ab'.repeat(20);

/**
 * What the agent sees of a kernel: a directory with the files of /proc and /sys that it reads, and programs that change
 * them as the kernel would. For the rules of the agent only; the real thing is tried in the lab.
 */
export class TestKernel {
  readonly clock = new TestClock();
  readonly commands: string[] = [];
  /** What insmod says next; `undefined`: it works. */
  refusal: string | undefined;
  /** A transition ends at the next look, or not at all. */
  blocked = false;
  /** Other programs of the host, by path. */
  readonly programs = new Map<string, (args: readonly string[]) => Promise<readonly [number, string, string?]>>();
  /** Called before and after a program runs. */
  aroundRun: (program: string, argument: string) => void = () => {};
  /** Called before any file is written atomically. */
  beforeWrite: (path: string) => void = () => {};
  bootedAt = this.clock.ms;
  /** The kernel log, as dmesg prints it. */
  readonly log: string[] = ['[    0.000001] Linux'];

  /** The kernel says something. */
  say(text: string): void {
    const seconds = (this.clock.ms - this.bootedAt) / 1000 + this.log.length / 1_000;
    this.log.push(`[${seconds.toFixed(6).padStart(12)}] ${text}`);
  }

  readonly root: string;
  readonly #settling = createQueue();

  private constructor(root: string) {
    this.root = root;
  }

  static async make(): Promise<TestKernel> {
    const kernel = new TestKernel(await mkdtemp(join(tmpdir(), 'kmend-agent-test-')));
    await kernel.write('/sys/kernel/notes', kernelNotes(BUILD_ID));
    await kernel.write('/sys/kernel/security/lockdown', '[none] integrity confidentiality\n');
    await kernel.write('/sys/devices/system/cpu/vulnerabilities/spectre_v2', 'Mitigation: Retpolines\n');
    await kernel.write('/proc/sys/kernel/tainted', '0\n');
    await kernel.write('/proc/cmdline', 'root=/dev/vda ro\n');
    await kernel.write('/proc/cpuinfo', 'processor\t: 0\nmicrocode\t: 0xf0\n');
    await kernel.write('/proc/stat', 'cpu 0\nbtime 1793491200\n');
    await kernel.write('/etc/os-release', 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n');
    await mkdir(join(kernel.root, 'sys/kernel/livepatch'));
    await kernel.boot();
    return kernel;
  }

  /** Another boot: nothing is loaded. */
  async boot(): Promise<void> {
    await this.write('/proc/sys/kernel/random/boot_id', `${randomUUID()}\n`);
    await this.write('/proc/modules', 'ext4 1 0 - Live 0x0\n');
    for (const name of await readdir(this.path('/sys/kernel/livepatch'))) await this.drop(name);
    await rm(this.path('/run'), { recursive: true, force: true });
    await mkdir(this.path('/run/systemd/system'), { recursive: true });
    this.bootedAt = this.clock.ms;
  }

  async write(path: string, data: string | Uint8Array): Promise<void> {
    await mkdir(dirname(this.path(path)), { recursive: true });
    await writeFile(this.path(path), data);
  }

  path(path: string): string {
    return join(this.root, path);
  }

  /** `content`: the build id of the module; else one of its name. */
  async load(name: string, content = sha256(name).slice(0, 40)): Promise<void> {
    await this.write(`/sys/module/${name}/notes/.note.gnu.build-id`, kernelNotes(content));
    await this.write(`/sys/kernel/livepatch/${name}/enabled`, '1\n');
    await this.write(`/sys/kernel/livepatch/${name}/transition`, '1\n');
    await this.write(`/sys/kernel/livepatch/${name}/vmlinux/patched`, '1\n');
    await this.write('/proc/modules', `${await this.modules()}${name} 1 0 - Live 0x0\n`);
  }

  /** A livepatch that is in force for every task. */
  async stand(name: string): Promise<void> {
    await this.load(name);
    await this.write(`/sys/kernel/livepatch/${name}/transition`, '0\n');
  }

  /** Out of force, and out of memory. */
  async takeOut(name: string): Promise<void> {
    await this.drop(name);
    await this.#unload(name);
  }

  async isEnabled(name: string): Promise<boolean> {
    const enabled = await readFile(this.path(`/sys/kernel/livepatch/${name}/enabled`), 'utf8').catch(() => '0');
    return enabled.trim() === '1';
  }

  async bootId(): Promise<string> {
    return (await readFile(this.path('/proc/sys/kernel/random/boot_id'), 'utf8')).trim();
  }

  async #unload(name: string): Promise<void> {
    const left = (await this.modules()).split('\n').filter((line) => !line.startsWith(`${name} `));
    await this.write('/proc/modules', left.join('\n'));
  }

  async drop(name: string): Promise<void> {
    await rm(this.path(`/sys/module/${name}`), { recursive: true, force: true });
    await rm(this.path(`/sys/kernel/livepatch/${name}`), { recursive: true, force: true });
  }

  async modules(): Promise<string> {
    return readFile(this.path('/proc/modules'), 'utf8');
  }

  /** Ends the transition under way, as klp_complete_transition does: what was replaced or disabled goes. */
  settle(): Promise<void> {
    // One at a time: sysfs shows a test and the service under test one state, never half of a change.
    return this.#settling(() => this.#settle());
  }

  async #settle(): Promise<void> {
    const names = await readdir(this.path('/sys/kernel/livepatch'));
    for (const name of names) {
      if (!(await readdir(this.path('/sys/kernel/livepatch'))).includes(name)) continue;
      const directory = `/sys/kernel/livepatch/${name}`;
      if ((await readFile(this.path(`${directory}/transition`), 'utf8')).trim() !== '1') continue;
      if ((await readFile(this.path(`${directory}/enabled`), 'utf8')).trim() === '1') {
        for (const other of names) if (other !== name) await this.drop(other);
        await this.write(`${directory}/transition`, '0\n');
      } else {
        await this.drop(name);
      }
    }
  }

  edges(): Edges {
    const real = nodeFiles(this.root);
    const files: Files = {
      ...real,
      text: async (path, limit) => {
        if (path === '/proc/uptime') return `${(this.clock.ms - this.bootedAt) / 1000} 0\n`;
        if (path.endsWith('/transition') && !this.blocked) await this.settle();
        return real.text(path, limit);
      },
      poke: async (path, value) => {
        await real.poke(path, value);
        await this.write(join(dirname(path), 'transition'), '1\n');
      },
      writeAtomic: async (path, data, mode) => {
        this.beforeWrite(path);
        return real.writeAtomic(path, data, mode);
      },
    };
    return {
      clock: this.clock,
      random: () => 0.5,
      files,
      run: (file, args) => this.#run(file, args),
      fetch: () => Promise.reject(new Error('no network in this test')),
      machine: {
        hostname: () => 'host1',
        arch: () => 'x86_64',
        release: () => '6.1.0-47-amd64',
        version: () => '#1 SMP',
        timeZone: () => 'UTC',
      },
    };
  }

  async #run(file: string, args: readonly string[]): Promise<RunResult> {
    const [argument = ''] = args;
    const name = file.split('/').at(-1) ?? '';
    this.commands.push(`${name} ${argument.startsWith('/') ? 'FILE' : argument}`.trim());
    this.aroundRun(name, argument);
    const ran = await this.#act(file, args);
    this.aroundRun(name, argument);
    return ran;
  }

  async #act(file: string, args: readonly string[]): Promise<RunResult> {
    const [argument = ''] = args;
    const program = this.programs.get(file);
    if (program !== undefined) return result(...(await program(args)));
    if (file.endsWith('/insmod')) {
      if (this.refusal !== undefined) this.say('livepatch: failed to find it');
      if (this.refusal !== undefined) return result(1, '', `insmod: ERROR: could not insert module: ${this.refusal}\n`);
      const file = await readFile(argument);
      await this.load(/kmend_[0-9a-f]{12}/.exec(file.toString('latin1'))?.[0] ?? 'nameless', buildIdOf(file));
      return result(0);
    }
    if (file.endsWith('/rmmod')) {
      await this.#unload(argument);
      return result(0);
    }
    // Every unit runs.
    if (file.endsWith('/systemctl')) return result(0, 'active\n');
    if (file.endsWith('/dmesg')) return result(0, `${this.log.join('\n')}\n`);
    return result(127);
  }

  remove(): Promise<void> {
    return rm(this.root, { recursive: true, force: true });
  }
}

function result(exitCode: number, stdout = '', stderr = ''): RunResult {
  return { exitCode, stdout: Buffer.from(stdout), stderr };
}
