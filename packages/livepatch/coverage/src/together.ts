/**
 * The last part of `script/bench coverage`: all that is patchable in one cumulative livepatch, on the stock kernel in
 * the lab.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { audited, World } from '@kmend/audit';
import { errorText, KmendError, silentProgress } from '@kmend/base';
import { importFromDebian } from '@kmend/builder';
import {
  type AreaWork,
  chooseAreas,
  EXERCISE_PACKAGES,
  type Exercise,
  exerciseAreas,
  type GuestModule,
  type Host,
  isBreakpointHandler,
  judgeAreas,
  KernelWatch,
  type Lab,
  LivepatchControl,
  ProofFailure,
  RunCounter,
  registeredCode,
  requireInForce,
  requireNothingLeft,
  runsStaleCode,
  type SystemExercise,
} from '@kmend/lab';
import { openLab } from '@kmend/pipeline/lab';
import type { Livepatch, RanFunction } from '@kmend/protocol';
import { type Phases, phasesOf, SAY_PHASES } from './phases.ts';
import { NO_RANDOM_PLACE, placesText, watchProcessors } from './processors.ts';
import type { Surroundings } from './surroundings.ts';

const MEMORY_MB = 2048;
const TRANSITION_LIMIT_S = 300;
const EXERCISE_S = 30;
const MODPROBE_MS = 180_000;
/** One in so many of the patched modules is loaded after the livepatch. */
const LATE_SHARE = 6;
/** A guest that hangs because of the emulator proves nothing: another one replaces it. */
const MOST_GUESTS = 4;

export interface Together {
  readonly fixes: number;
  readonly functions: number;
  readonly objects: number;
  readonly size: number;
  readonly buildSeconds: number;
  /** Seconds; absent when it did not come to that. */
  readonly load?: Phases;
  readonly revert?: Phases;
  /** Before, during and after the load, and after the revert. */
  readonly exercises: readonly ({ readonly when: string } & Pick<Exercise, 'operations' | 'areas' | 'skipped'>)[];
  /**
   * Patched modules that were in memory, those loaded behind the livepatch, and why others do not load in the guest
   * (hardware).
   */
  readonly modules: readonly string[];
  readonly late: readonly string[];
  readonly absent: Readonly<Record<string, string>>;
  /** What of the parts of the kernel that it patches was used while it was in force. */
  readonly areas: readonly AreaWork[];
  /** Every replaced function and how often it ran; absent when it did not come to that. */
  readonly ran?: readonly RanFunction[];
  /** What went wrong; empty when nothing did. */
  readonly problems: readonly string[];
  /** Guests before this one that hung for a fault of the emulator (`runsStaleCode`). */
  readonly hung: number;
}

interface LoadSurroundings extends Surroundings {
  /** Folder for the livepatch, and for the kernel's log when something goes wrong. */
  readonly out: string;
}

/** Builds one cumulative livepatch of a fix a file, loads it under load, exercises, reverts. */
export async function together(around: LoadSurroundings, paths: readonly string[]): Promise<Together> {
  const begin = performance.now();
  const { manifest, module } = await build(around, paths);
  const buildSeconds = (performance.now() - begin) / 1000;
  if (module === undefined)
    throw new Error(`all together are ${manifest.verdict}: ${JSON.stringify(manifest.reasons)}`);
  const functions = manifest.objects.reduce((sum, object) => sum + object.functions.length, 0);
  around.say(
    `together: ${paths.length} fixes, ${functions} functions in ${manifest.objects.length} objects, ${module.length} bytes, ${buildSeconds.toFixed(1)} s`,
  );
  const { edges, cache, systems } = around.workshop;
  const lab = openLab({ cache, systems, edges: { ...edges, progress: { ...silentProgress, step: around.say } } });
  try {
    const counts = { fixes: paths.length, functions, objects: manifest.objects.length, size: module.length };
    for (let hung = 0; ; hung++) {
      // The kernel's words of the whole time, and all marks among them.
      const kernelArguments = ['log_buf_len=16M', 'printk.devkmsg=on', NO_RANDOM_PLACE];
      const name = `together-${hung}`;
      const words = { name, memoryMb: MEMORY_MB, kernelArguments, packages: EXERCISE_PACKAGES };
      const host = await lab.boot(around.kernel, words);
      const trial = new Trial(around, lab, host, manifest);
      await trial.run(module);
      if (!trial.ranStaleCode || hung + 1 === MOST_GUESTS) return { ...counts, buildSeconds, ...trial.measured, hung };
      around.say('the emulator ran code that the kernel had changed: a fault of QEMU before 8.1; again in a new guest');
      await host.powerOffHard();
    }
  } finally {
    await lab.close();
  }
}

async function build({ workshop, kernel, range }: LoadSurroundings, paths: readonly string[]) {
  const { edges, sources } = workshop;
  const fixes = [];
  for (const [index, path] of paths.entries()) {
    const words = { id: `F${index}`, title: path, severity: 'unknown', hardware: false } as const;
    fixes.push(await importFromDebian(edges, sources, words, { ...range, paths: [path] }));
  }
  const builder = await workshop.builder(kernel);
  const built = await builder.build({ fixes, kind: 'cumulative', acceptReview: true });
  const source = { patches: fixes.map(({ patch }) => patch), tree: builder.sourceTree };
  return await audited(() => World.open(kernel), built, source);
}

type Measured = Omit<Together, 'fixes' | 'functions' | 'objects' | 'size' | 'buildSeconds' | 'hung'>;
type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** One livepatch in one guest; what it measured until something went wrong is kept. */
class Trial {
  readonly measured: Writable<Measured> & { exercises: Measured['exercises'][number][]; problems: string[] };
  readonly #around: LoadSurroundings;
  readonly #lab: Lab;
  readonly #host: Host;
  readonly #manifest: Livepatch;
  readonly #watch: KernelWatch;
  #ranStaleCode = false;

  constructor(around: LoadSurroundings, lab: Lab, host: Host, manifest: Livepatch) {
    this.#around = around;
    this.#lab = lab;
    this.#host = host;
    this.#manifest = manifest;
    this.#watch = new KernelWatch(host);
    this.measured = { exercises: [], modules: [], late: [], absent: {}, areas: [], problems: [] };
  }

  get ranStaleCode(): boolean {
    return this.#ranStaleCode;
  }

  /** What goes wrong in the guest becomes a problem; an interrupt is thrown. */
  async run(module: Uint8Array): Promise<void> {
    try {
      await this.#watch.begin();
      await this.#steps(module);
      const lines = await this.#watch.requireQuietThroughout();
      this.#around.say(`kernel log clean, ${lines} lines`);
    } catch (error) {
      this.#around.workshop.edges.signal.throwIfAborted();
      this.measured.problems.push(...(await this.#explain(error)));
    }
    if (this.measured.problems.length > 0) await this.#keepLog();
  }

  /**
   * What the kernel said: its own log, and the serial console, which is there even when the guest answers no more; and
   * where its processors were.
   */
  async #keepLog(): Promise<void> {
    const processors = this.#host.isOn
      ? await watchProcessors(this.#host, this.#around.kernel, this.#around.workshop.edges.clock)
      : [];
    this.#ranStaleCode = runsStaleCode(processors, isBreakpointHandler);
    const log = this.#host.isOn ? await this.#host.kernelLog().catch(errorText) : 'the guest is off';
    const file = join(this.#around.out, 'together-kernel.log');
    await writeFile(file, `${log}\n\nserial console:\n${this.#host.console()}\n\n${placesText(processors)}\n`);
    this.#around.say(`the kernel's log is in ${file}`);
  }

  async #steps(module: Uint8Array): Promise<void> {
    const { say } = this.#around;
    const host = this.#host;
    const names = this.#manifest.objects.map(({ name }) => name).filter((name) => name !== 'vmlinux');
    const heldBack = names.filter((_, index) => index % LATE_SHARE === LATE_SHARE - 1);
    await this.#loadModules(names.filter((name) => !heldBack.includes(name)));
    await this.#exercise('on the kernel alone');
    await host.check(SAY_PHASES);
    const livepatch = await this.#bring(module);
    const control = new LivepatchControl(host, TRANSITION_LIMIT_S);
    const inMemory = new Set((await host.check("sed 's/ .*//' /proc/modules")).split('\n'));
    this.measured.modules = names.filter((name) => inMemory.has(name));

    const during = this.#exercise('while it was loaded');
    // Awaited below; a failure before that must not end the process.
    during.catch(() => {});
    await control.load(livepatch);
    this.measured.load = await this.#phases('patching');
    await during;
    await requireInForce(host, livepatch.name, this.#manifest.objects);
    const counter = new RunCounter(host, livepatch.name, registeredCode(module, this.#manifest.objects));
    await counter.begin();
    const before = this.measured.modules;
    this.measured.late = await this.#loadModules(heldBack.filter((name) => !before.includes(name)));
    const { functions, patched } = await requireInForce(host, livepatch.name, this.#manifest.objects);
    say(`${functions} functions in force in ${patched.length} objects, of which late: ${this.measured.late.join(' ')}`);
    await this.#exercise('with all of it in force');
    const system: SystemExercise = (where, seconds) => this.#lab.exercise(where, seconds);
    const work = await exerciseAreas(host, chooseAreas(this.#manifest.objects), system, { say });
    this.measured.areas = work;
    await counter.end();
    this.measured.ran = counter.functions() ?? [];

    await control.revert(livepatch);
    this.measured.revert = await this.#phases('unpatching');
    await control.unload(livepatch);
    await requireNothingLeft(host);
    await this.#exercise('after the revert');
    // Is it the livepatch, or is it so on the shipped kernel?
    const suspects = judgeAreas(work);
    const areas = suspects.map(({ area }) => area);
    const alone = judgeAreas(await exerciseAreas(host, areas, system, { say }));
    for (const { name, why } of suspects) {
      if (alone.some((other) => other.name === name)) say(`fails on the kernel alone as well: ${why}`);
      else this.measured.problems.push(`fails beside the livepatch, not on the kernel alone: ${why}`);
    }
  }

  async #bring(module: Uint8Array): Promise<GuestModule> {
    const name = this.#manifest.module;
    const livepatch = { name, path: `/root/${name}.ko` };
    const file = join(this.#around.out, `${name}.ko`);
    await writeFile(file, module);
    await this.#host.copyIn(file, livepatch.path);
    return livepatch;
  }

  /** Those that load; the others are kept as absent, with modprobe's words. */
  async #loadModules(names: readonly string[]): Promise<string[]> {
    const loaded: string[] = [];
    const absent: Record<string, string> = {};
    for (const name of names) {
      const { exitCode, stderr } = await this.#host.run(['modprobe', '--', name], { timeoutMs: MODPROBE_MS });
      if (exitCode === 0) loaded.push(name);
      else absent[name] = stderr.trim() || `modprobe ended with ${exitCode}`;
    }
    this.measured.absent = { ...this.measured.absent, ...absent };
    for (const [name, words] of Object.entries(absent))
      this.#around.say(`not available in the guest: ${name}: ${words}`);
    return loaded;
  }

  async #exercise(when: string): Promise<void> {
    const { operations, areas, skipped, failures } = await this.#lab.exercise(this.#host, EXERCISE_S);
    const { exercises, problems } = this.measured;
    problems.push(...failures.map((failure) => `${when}: ${failure}`));
    const known = exercises[0]?.skipped ?? skipped;
    const gone = skipped.filter((what) => !known.includes(what));
    problems.push(...gone.map((what) => `${when}: ${what} is missing now`));
    exercises.push({ when, operations, areas, skipped });
    this.#around.say(
      `exercised ${when}: ${operations} operations in ${Object.keys(areas).length} areas, ${failures.length} with failures; not in this kernel: ${skipped.join(', ') || 'nothing'}`,
    );
  }

  async #phases(direction: 'patching' | 'unpatching'): Promise<Phases> {
    const phases = phasesOf(await this.#host.kernelLog(), this.#manifest.module, direction);
    if (phases === undefined) throw new ProofFailure(`the kernel log does not show the end of ${direction}`);
    const { prepare, tasks, finish } = phases;
    this.#around.say(
      `${direction}: prepared in ${prepare} s, every task switched ${tasks} s later, done ${finish} s later`,
    );
    return phases;
  }

  /** What is wrong, with the tasks in the way and the kernel's own complaints where there are any. */
  async #explain(error: unknown): Promise<string[]> {
    const details = error instanceof ProofFailure ? error.details : [];
    const console = error instanceof KmendError ? error.details?.['console'] : undefined;
    const log = this.#host.isOn ? await this.#watch.wrong().catch(() => []) : [];
    return [
      errorText(error),
      ...details.map((line) => `  ${line}`),
      ...log.filter((line) => !details.includes(line)).map((line) => `kernel log: ${line}`),
      ...(typeof console === 'string' ? console.split('\n').map((line) => `console: ${line}`) : []),
    ];
  }
}
