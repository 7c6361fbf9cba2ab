import { readFile } from 'node:fs/promises';
import type { Clock, Progress } from '@kmend/base';
import { type Proof, type ProofMemory, type RanFunction, ranShare, whyNotRun } from '@kmend/protocol';
import { chooseAreas } from '../areas/choose.ts';
import type { SystemExercise } from '../areas/run.ts';
import type { LabKernel } from '../boot-files.ts';
import type { Lab, Reproducer, Said } from '../lab.ts';
import { RunCounter } from '../ran/count.ts';
import { registeredCode } from '../ran/registered.ts';
import type { Workload } from '../workload.ts';
import { BusyLoad } from './busy.ts';
import type { GuestModule } from './control.ts';
import { exerciseAreas, judgeAreas } from './exercise.ts';
import { ProofFailure } from './failure.ts';
import { Guest, type GuestOptions } from './guest.ts';
import { type InForce, requireInForce, requireNothingLeft } from './in-force.ts';
import { judgeMemory, leaks, roundsInAll, WARM_UP } from './leak.ts';
import { kernelMemory, quieten } from './memory.ts';
import { PatchedModules } from './modules.ts';
import type { ProofRecord, StepWork } from './record.ts';
import type { BuiltLivepatch, ProofRequest } from './request.ts';

type Say = Parameters<StepWork>[0];

/** What is proven, and in which guest. */
export interface ProofWork {
  readonly kernel: LabKernel;
  readonly request: ProofRequest;
  readonly machine: Pick<GuestOptions, 'name' | 'cpus'>;
  /** What the record says of the guest before this one. */
  readonly remark?: string;
}

/** Runs the steps of a proof one after the other, and keeps what the record contains beside their outcomes. */
export class ProofSteps {
  readonly notShown: string[] = [];
  rounds = 0;
  memory: ProofMemory | undefined;
  readonly #lab: Lab;
  readonly #edges: { readonly clock: Clock; readonly progress: Progress };
  readonly #kernel: LabKernel;
  readonly #request: ProofRequest;
  readonly #record: ProofRecord;
  readonly #machine: Pick<GuestOptions, 'name' | 'cpus'>;
  #guest: Guest | undefined;
  #reproducers: readonly Reproducer[] = [];
  #counter: RunCounter | undefined;

  constructor(
    lab: Lab,
    edges: { readonly clock: Clock; readonly progress: Progress },
    { kernel, request, machine, remark }: ProofWork,
    record: ProofRecord,
  ) {
    this.#machine = machine;
    if (remark !== undefined) this.notShown.push(remark);
    this.#lab = lab;
    this.#edges = edges;
    this.#kernel = kernel;
    this.#request = request;
    this.#record = record;
  }

  /** The guest, as the record describes it. */
  get machine(): Omit<Proof['lab'], 'accelerator'> {
    const { host, root } = this.#booted();
    return { cpus: host.cpus, memoryMb: host.memoryMb, root: { ...root } };
  }

  /** Seconds of each transition. */
  get transitions(): readonly number[] {
    return this.#guest?.control.transitions ?? [];
  }

  /** Every replaced function and how often it ran; `null` if no livepatch was loaded. */
  get ran(): RanFunction[] | null {
    return this.#counter?.functions() ?? null;
  }

  /** Fixes whose flaw was there before, gone after, and there again. */
  get reproduced(): readonly string[] {
    const seen = (['before', 'after', 'reverted'] as const).every((name) => this.#record.passed(name));
    return seen ? this.#reproducers.map(({ id }) => id) : [];
  }

  /** Ends the guest, in whatever state it is. */
  async end(): Promise<void> {
    await this.#guest?.host.powerOffHard();
  }

  async run(): Promise<void> {
    const { livepatch, transitionLimit, exercise } = this.#request;
    const code = registeredCode(await readFile(livepatch.module.path), livepatch.manifest.objects);
    const areas = exercise ? chooseAreas(livepatch.manifest.objects) : [];
    // One that does not compile is known before the guest is.
    for (const [id, source] of this.#request.reproducers) await this.#lab.reproducer(id, source);
    await this.#record.make('boot', async (say) => {
      const { name, cpus } = this.#machine;
      const options = { name, cpus, transitionLimit, exercised: areas.length > 0 };
      this.#guest = await Guest.boot(this.#lab, this.#edges.clock, this.#kernel, options);
      const { root, host } = this.#guest;
      const { restored, bootSeconds } = host;
      const how = restored ? 'restored from a saved boot' : 'up';
      say(`${Object.keys(root.packages).length} packages, digest ${root.digest}`);
      say(`${this.#kernel.release} on Debian ${root.suite}, ${how} after ${bootSeconds.toFixed(1)} s`);
      return undefined;
    });
    const guest = this.#booted();
    if (guest.host.cpus === 1)
      this.notShown.push('the guest has one processor: nothing that two do at the same time was tried');
    const names = livepatch.manifest.objects.map(({ name }) => name).filter((name) => name !== 'vmlinux');
    const modules = new PatchedModules(guest.host, names);
    const module = await this.#bring(guest, livepatch);
    const counter = new RunCounter(guest.host, module.name, code);
    this.#counter = counter;
    await this.#installReproducers(guest);
    await this.#step('before', (say) => this.#expect(say, () => 'vulnerable'));

    const workload = await this.#lab.startWorkload(guest.host);
    const busy = await BusyLoad.start(guest.host, guest.host.cpus);
    let inUse: string[] = [];
    await this.#step('load', async (say) => {
      inUse = await modules.removeAll();
      if (inUse.length > 0)
        this.notShown.push(`in use since the boot, never loaded after the livepatch: ${inUse.join(', ')}`);
      await this.#load(guest, module, livepatch, say);
      await counter.begin();
      return undefined;
    });
    await this.#step('modules-after', async (say) => {
      if (names.length === 0) return 'the livepatch patches vmlinux only';
      const loaded = await modules.loadBeside(names.filter((name) => !inUse.includes(name)));
      describe(await requireInForce(guest.host, module.name, livepatch.manifest.objects), say);
      return loaded.length > 0 ? undefined : 'none of the modules can be loaded after the livepatch in this guest';
    });
    await this.#step('after', (say) => this.#expect(say, () => 'fixed'));
    await this.#step('exercise', async (say) => {
      if (areas.length === 0) return exercise ? 'no known part of the kernel uses what it patches' : 'not requested';
      const system: SystemExercise = (host, seconds) => this.#lab.exercise(host, seconds);
      const begin = (what: string): void => this.#edges.progress.step(`prove: ${what}`);
      const work = await exerciseAreas(guest.host, areas, system, { say, begin });
      const suspects = judgeAreas(work);
      this.notShown.push(
        ...work.flatMap(({ outcome, area, what, why }) => (outcome === 'absent' ? [`${area}, ${what}: ${why}`] : [])),
      );
      if (suspects.length === 0) return undefined;
      // Is it the livepatch, or is it so on the shipped kernel?
      await counter.end();
      await guest.control.revert(module);
      await guest.control.unload(module);
      const again = judgeAreas(
        await exerciseAreas(
          guest.host,
          suspects.map(({ area }) => area),
          system,
          { say, begin: (what) => begin(`${what}, on the kernel alone`) },
        ),
      );
      const spoilt = suspects.filter(({ name }) => !again.some((other) => other.name === name));
      if (spoilt.length > 0)
        throw new ProofFailure(
          'something that works on the kernel alone fails with the livepatch',
          spoilt.map(({ why }) => why),
        );
      this.notShown.push(...suspects.map(({ why }) => `fails on the kernel alone as well: ${why}`));
      await this.#load(guest, module, livepatch, say);
      await counter.begin();
      return undefined;
    });
    await this.#step('revert', async (say) => {
      await counter.end();
      say(`transition ended after ${await guest.control.revert(module)} s`);
      await guest.control.unload(module);
      await requireNothingLeft(guest.host);
      return undefined;
    });
    await this.#step('reverted', (say) => this.#expect(say, () => 'vulnerable'));
    await this.#step('load-again', async (say) => {
      const { absent, spoilt } = await modules.loadAlone();
      if (spoilt.length > 0)
        throw new ProofFailure('modules that load on the kernel alone do not load with the livepatch', spoilt);
      for (const [name, words] of absent) this.notShown.push(`${name} was never in memory: ${words}`);
      await this.#load(guest, module, livepatch, say);
      await counter.begin();
      await this.#expect(say, () => 'fixed');
      return undefined;
    });
    await this.#step('replace', (say) => this.#replace(guest, module, say));
    await this.#step('workload', async (say) => {
      await endLoad(busy, workload, say);
      await counter.end();
      sayRan(counter.functions() ?? [], say);
      return undefined;
    });
    await this.#step('rounds', (say) => this.#rounds(guest, module, say));
    await this.#step('kernel-log', async (say) => {
      say(`${await guest.requireQuietThroughout()} lines since the boot, no complaint, no taint but a livepatch's own`);
      return undefined;
    });
  }

  #booted(): Guest {
    if (this.#guest === undefined) throw new Error('the guest is not up yet');
    return this.#guest;
  }

  #step(name: Parameters<ProofRecord['make']>[0], work: StepWork): Promise<void> {
    return this.#record.make(name, this.#booted().watched(name, work));
  }

  async #bring(guest: Guest, { manifest, module }: BuiltLivepatch): Promise<GuestModule> {
    const path = `/run/kmend-lab/${manifest.module}.ko`;
    await guest.host.copyIn(module.path, path);
    return { name: manifest.module, path };
  }

  async #installReproducers(guest: Guest): Promise<void> {
    const { livepatch, reproducers } = this.#request;
    const known = await this.#lab.reproducers();
    const installed: Reproducer[] = [];
    const without: string[] = [];
    for (const { id } of livepatch.manifest.fixes) {
      const source = reproducers.get(id);
      if (source === undefined && !known.includes(id)) without.push(id);
      else installed.push(await this.#lab.installReproducer(guest.host, id, source));
    }
    this.#reproducers = installed;
    if (without.length > 0)
      this.notShown.push(`no reproducer, so the flaw itself was not looked at: ${without.join(', ')}`);
  }

  /** Runs every reproducer; each must say what is expected of its fix. */
  async #expect(say: Say, expected: (fix: string) => Said): Promise<string | undefined> {
    if (this.#reproducers.length === 0) return 'none of the fixes has a reproducer';
    for (const { id, ask } of this.#reproducers) {
      const said = await ask();
      if (said !== expected(id)) throw new ProofFailure(`${id} is ${said}, not ${expected(id)}`);
      say(`${id}: ${said}`);
    }
    return undefined;
  }

  async #load(guest: Guest, module: GuestModule, { manifest }: BuiltLivepatch, say: Say): Promise<void> {
    guest.touch();
    say(`transition ended after ${await guest.control.load(module)} s`);
    describe(await requireInForce(guest.host, module.name, manifest.objects), say);
  }

  /** Puts the previous livepatch in the place of this one, and this one back. */
  async #replace(guest: Guest, module: GuestModule, say: Say): Promise<string | undefined> {
    const { livepatch, previous } = this.#request;
    if (livepatch.manifest.kind === 'stacked') return 'a stacked livepatch replaces nothing';
    if (previous === undefined) return 'no previous livepatch was given (--previous)';
    const earlier = await this.#bring(guest, previous);
    await this.#counter?.end();
    const kept = new Set(previous.manifest.fixes.map(({ id }) => id));
    const place = async (next: GuestModule, last: GuestModule, built: BuiltLivepatch): Promise<void> => {
      say(`${next.name} replaced ${last.name} in ${await guest.control.load(next)} s`);
      await guest.control.unload(last);
      describe(await requireInForce(guest.host, next.name, built.manifest.objects), say);
    };
    await place(earlier, module, previous);
    await this.#expect(say, (fix) => (kept.has(fix) ? 'fixed' : 'vulnerable'));
    await place(module, earlier, livepatch);
    await this.#counter?.begin();
    await this.#expect(say, () => 'fixed');
    return undefined;
  }

  /** Loads and reverts again and again, without the load, whose own memory would be in the way of the measurement. */
  async #rounds(guest: Guest, module: GuestModule, say: Say): Promise<undefined> {
    const { control, host } = guest;
    const { rounds } = this.#request;
    const takeOut = async (): Promise<void> => {
      await control.revert(module);
      await control.unload(module);
    };
    await takeOut();
    await quieten(host);
    const samples: number[] = [];
    let last = rounds;
    for (let round = 1 - WARM_UP; round <= last; round++) {
      await control.load(module);
      // So that the patched code itself runs in each round, as far as anything known makes it run.
      await this.#expect(
        () => {},
        () => 'fixed',
      );
      await takeOut();
      if (round >= 0) samples.push(await kernelMemory(host));
      if (round === rounds) last = roundsInAll(rounds, samples);
      this.rounds = Math.max(0, round);
      this.#edges.progress.advance(round + WARM_UP, last + WARM_UP, 'items');
    }
    await requireNothingLeft(host);
    const memory = judgeMemory(samples);
    this.memory = memory;
    say(`${last} rounds behind ${WARM_UP} to warm up`);
    const words = `memory in use grows by ${memory.slope} bytes a round; above ${memory.bound} it is a leak`;
    if (leaks(memory)) throw new ProofFailure(words, [`samples: ${memory.samples.join(', ')}`]);
    say(words);
    return undefined;
  }
}

function sayRan(ran: RanFunction[], say: Say): void {
  for (const entry of ran) {
    const why = whyNotRun(entry);
    if (why !== undefined) say(`did not run: ${entry.object}: ${entry.name} (${entry.source}): ${why}`);
  }
  const { ran: some, of } = ranShare({ ran }) ?? { ran: 0, of: 0 };
  say(`ran ${some} of ${of} replaced functions`);
}

function describe({ patched, absent, functions }: InForce, say: Say): void {
  say(`${functions} functions in force in ${patched.length === 0 ? 'no object yet' : patched.join(', ')}`);
  if (absent.length > 0) say(`not in memory: ${absent.join(', ')}`);
}

async function endLoad(busy: BusyLoad, workload: Workload, say: Say): Promise<undefined> {
  const turns = await busy.stop();
  say(
    `turns of the load: ${Object.entries(turns)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')}`,
  );
  const { echoed, lost, longestGapMs, seconds } = await workload.stop();
  say(`TCP: ${echoed} records in ${seconds.toFixed(0)} s, longest gap ${longestGapMs.toFixed(0)} ms, lost ${lost}`);
  if (lost > 0) throw new ProofFailure(`the TCP workload lost ${lost} records`);
  return undefined;
}
