import { type LivepatchMeasure, LivepatchStatus } from '@kmend/protocol';
import { paths } from '../edges/paths.ts';
import { PROGRAM } from '../stack/program.ts';
import { BUILD_ID, type TestKernel } from './kernel.ts';

interface Installed {
  readonly module: string;
  readonly package: string;
  readonly kind: 'stacked' | 'cumulative';
  readonly fixes: readonly string[];
}

/**
 * `kmend-livepatch` as far as the agent meets it: what it says, and what it makes of the kernel. The real one is
 * packages/repository/distro/loader.
 */
export class TestPackages {
  readonly installed: Installed[] = [];
  hold: 'stay' | 'out' | null = null;
  /** Of each livepatch; others are good. */
  readonly phases = new Map<string, LivepatchStatus['inForce'][number]['phase']>();
  /** What a command does in place of its work. */
  trouble: { readonly command: string; readonly exitCode: number; readonly says: string } | undefined;
  /** `true`: for good; else the boot. */
  yielded: true | string | null = null;
  readonly #kernel: TestKernel;

  private constructor(kernel: TestKernel) {
    this.#kernel = kernel;
  }

  static async make(kernel: TestKernel): Promise<TestPackages> {
    const packages = new TestPackages(kernel);
    await kernel.write(PROGRAM, '#!/bin/sh\n');
    kernel.programs.set(PROGRAM, (args) => packages.#run(args));
    return packages;
  }

  /** Installs one, and loads what may be loaded, as the package manager has it done. */
  async install(number: number, fixes: readonly string[], kind: Installed['kind'] = 'stacked'): Promise<string> {
    const module = `kmend_${'f'.repeat(10)}${number.toString(16).padStart(2, '0')}`;
    this.installed.push({ module, package: `livepatch-${number}`, kind, fixes });
    await this.sync();
    return module;
  }

  /** What `kmend-livepatch.service` does at boot, too. */
  async sync(over?: string): Promise<number> {
    if (await this.#isYielded()) return 0;
    if (await this.#agentIsThere(over)) return 5;
    const cumulative = this.installed.some(({ kind }) => kind === 'cumulative');
    if (over !== undefined && !cumulative) await this.#kernel.takeOut(over);
    for (const { module } of this.installed)
      if (!(await this.#kernel.isEnabled(module))) await this.#kernel.stand(module);
    if (over !== undefined) await this.#kernel.takeOut(over);
    return 0;
  }

  async #isYielded(): Promise<boolean> {
    return this.yielded === true || this.yielded === (await this.#kernel.bootId());
  }

  /** By the agent's journal, as the real one looks. */
  async #agentIsThere(over?: string): Promise<boolean> {
    const text = await this.#kernel.edges().files.text(paths.journal);
    const { current } = text === undefined ? { current: null } : JSON.parse(text);
    if (current === null || current.bootId !== (await this.#kernel.bootId()) || current.phase === 'failed')
      return false;
    return current.module !== over;
  }

  async #run([command = '', option, module]: readonly string[]): Promise<
    readonly [exitCode: number, out: string, err?: string]
  > {
    if (this.trouble?.command === command)
      return [this.trouble.exitCode, '', `kmend-livepatch: ${this.trouble.says}\n`];
    switch (command) {
      case 'status': {
        const status = await this.#status();
        return [status.exitCode, JSON.stringify(status)];
      }
      case 'measure':
        return [0, JSON.stringify(await this.#measure())];
      case 'yield':
        this.yielded = option === '--until-boot' ? await this.#kernel.bootId() : true;
        return [0, ''];
      case 'take':
        if (this.installed.length === 0) return [5, '', 'kmend-livepatch: nothing is installed (none-installed)\n'];
        this.yielded = null;
        return [await this.sync(option === '--over' ? module : undefined), ''];
      default:
        return [6, ''];
    }
  }

  async #inForce(): Promise<Installed[]> {
    const found: Installed[] = [];
    for (const it of this.installed) if (await this.#kernel.isEnabled(it.module)) found.push(it);
    return found;
  }

  async #status(): Promise<LivepatchStatus> {
    const inForce = await this.#inForce();
    const names = new Set(inForce.map(({ module }) => module));
    const all = this.installed.every(({ module }) => names.has(module));
    return LivepatchStatus.parse({
      schema: 'kmend.livepatch-status/1',
      release: '6.1.0-47-amd64',
      buildId: BUILD_ID,
      outcome: {
        code: 'in-force',
        text: 'everything installed is in force',
        at: this.#kernel.clock.now().toISOString(),
      },
      hold: this.hold,
      yielded: await this.#isYielded(),
      switchedOff: null,
      saved: true,
      inForce: inForce.map((it, position) => ({
        ...{ module: it.module, package: it.package, version: '1', kind: it.kind, position },
        ...{ phase: this.phases.get(it.module) ?? 'good', installed: true, transitionSeconds: 1 },
        fixes: it.fixes.map((id) => ({ id, title: id })),
      })),
      installed: this.installed.map((it, position) => ({
        ...{ module: it.module, package: it.package, version: '1', kind: it.kind, position },
        ...{ inForce: names.has(it.module), code: null },
      })),
      unusable: [],
      otherKernels: 0,
      problems: [],
      quarantined: [],
      warnings: [],
      kernelLog: [],
      exitCode: this.installed.length === 0 ? 3 : names.size === 0 ? 1 : all ? 0 : 2,
    });
  }

  async #measure(): Promise<LivepatchMeasure> {
    const livepatches = (await this.#inForce()).map(({ module }) => ({
      module,
      memoryBytes: 8192,
      transitionSeconds: 1,
    }));
    const memoryBytes = livepatches.length * 8192;
    const counts = { depth: livepatches.length, functions: 5, functionsCoveredSeveralTimes: 1 };
    return { schema: 'kmend.livepatch-measure/1', ...counts, memoryBytes, livepatches };
  }
}
