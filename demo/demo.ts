import { join } from 'node:path';
import { buildAgentPackage } from '@kmend/agent/deb';
import { type Clock, errorText, type Progress } from '@kmend/base';
import { importFixes, Operator, openLab, PatchedHost, type ServerProcess } from '@kmend/harness';
import type { KernelStore } from '@kmend/kernel';
import type { Lab, Workload } from '@kmend/lab';
import type { Livepatch, Proof } from '@kmend/protocol';
import { lookAround } from './look-around.ts';
import type { Subject } from './subject.ts';
import { Timeline } from './timeline.ts';

export interface DemoOptions {
  readonly subject: Subject;
  readonly json: boolean;
  readonly keep: boolean;
  /** What script/bootstrap took before. */
  readonly bootstrapSeconds: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const CHECK_INTERVAL = 10;
/** Rounds of the proof: enough to show one. The default of kmend prove is 20. */
const ROUNDS = 3;

/** From a source fix to a patched running kernel. Returns the exit code: 0 only if all that had to be observed was. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const { clock, signal, json } = options;
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const timeline = new Timeline(clock, say);
  const progress: Progress = { step: (text) => say(`      ${text}`), advance() {} };
  const operator = await Operator.make(signal);
  const machines = openLab(operator.cache, signal, progress);
  let server: ServerProcess | undefined;
  let failure: string | undefined;
  try {
    const demo = new Demo(options, { timeline, operator, machines, progress });
    await demo.run((started) => {
      server = started;
    });
    if (options.keep) await lookAround({ host: demo.patched, operator, say, signal });
  } catch (error) {
    failure = signal.aborted ? errorText(signal.reason) : errorText(error);
    say(`\nstopped: ${failure}`);
  } finally {
    await machines.lab.close();
    await server?.stop();
    await operator.remove();
  }
  const holds = failure === undefined && timeline.holds;
  say(`\n${timeline.text()}\n`);
  say(holds ? 'all of it was observed' : 'NOT all of it was observed');
  if (json) {
    const document = {
      holds,
      failure: failure ?? null,
      bootstrapSeconds: options.bootstrapSeconds,
      steps: timeline.steps,
    };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
  return holds ? 0 : signal.aborted ? 130 : 1;
}

interface Surroundings {
  readonly timeline: Timeline;
  readonly operator: Operator;
  readonly machines: ReturnType<typeof openLab>;
  readonly progress: Progress;
}

class Demo {
  readonly #options: DemoOptions;
  readonly #timeline: Timeline;
  readonly #operator: Operator;
  readonly #lab: Lab;
  readonly #kernels: KernelStore;
  readonly #progress: Progress;
  #patched: PatchedHost | undefined;

  constructor(options: DemoOptions, { timeline, operator, machines, progress }: Surroundings) {
    this.#options = options;
    this.#timeline = timeline;
    this.#operator = operator;
    this.#lab = machines.lab;
    this.#kernels = machines.kernels;
    this.#progress = progress;
  }

  get patched(): PatchedHost {
    if (this.#patched === undefined) throw new Error('the host is not up yet');
    return this.#patched;
  }

  async run(started: (server: ServerProcess) => void): Promise<void> {
    const operator = this.#operator;
    const t = this.#timeline;
    const { kernel: release, range, fixes, more, objects } = this.#options.subject;
    const ids = fixes.map(({ id }) => id);
    t.record('Set up this machine: Debian packages, npm packages, Node 26', this.#options.bootstrapSeconds);
    await t.step(`Fetch the stock kernel ${release} and the sources of the fixes`, async () => {
      const kernel = await operator.kmend<{ buildId: string }>('kernel', 'add', `${range.suite}/${release}`);
      t.note(`build id ${kernel.buildId}; signature and hashes checked`);
      await importFixes((...args) => operator.kmend(...args), [...fixes, more], range);
    });
    const first = await t.step(`Build one cumulative livepatch from ${fixes.length} fixes`, () =>
      this.#build('one', ids),
    );
    t.observe(
      'objects patched',
      objects.join(', '),
      first.objects
        .map(({ name }) => name)
        .sort()
        .join(', '),
    );
    const server = await t.step('Start the patch server and make an activation key', async () => {
      const running = await operator.startServer();
      started(running);
      await operator.kmend('policy', 'fleet', '--check-interval', String(CHECK_INTERVAL));
      t.note(`${running.url}; hosts check every ${CHECK_INTERVAL} s`);
      return running;
    });
    const { key } = await operator.kmend<{ key: string }>('key', 'create', '--name', 'demo', '--seats', '1');
    const deb = await t.step("Build the agent's Debian package", () =>
      buildAgentPackage({ out: join(operator.home, 'deb'), progress: this.#progress }),
    );
    await t.step(`Boot a Debian host on the stock ${release} in QEMU`, () => this.#boot());
    await t.step('Install the agent and enrol with the activation key', async () => {
      await this.patched.install(deb.path);
      await this.patched.enrol(server, key);
      t.observe('channel of the host', 'stable', (await this.patched.seen()).channel);
    });
    const bootId = await this.patched.host.bootId();
    let workload: Workload | undefined;
    await t.step('Before: the flaws are there', async () => {
      workload = await this.#lab.startWorkload(this.patched.host);
      t.note('a TCP workload runs from now on');
      await this.#observeFlaws('vulnerable', 'the kernel');
    });
    await t.step('Publish; the agent finds it, verifies, loads, and follows the transition', async () => {
      t.note('unproven, so that something is to be seen soon: the second one is proven first');
      await this.#publish('one', 1, '--unproven');
    });
    await t.step('After: the flaws are gone, nothing was restarted', async () => {
      await this.#observeFlaws('fixed', `livepatch ${first.module}`);
      t.observe('livepatches in memory', first.module, (await this.patched.modulesAfterUnload()).join(', '));
      t.observe('boot id', bootId, await this.patched.host.bootId());
    });
    const second = await t.step(`Build a second cumulative livepatch, with ${more.id} as well`, () =>
      this.#build('two', [...ids, more.id]),
    );
    await t.step('Prove it in the lab: load, revert, replace, again and again, under load', () =>
      this.#prove('two', 'one'),
    );
    await t.step('Publish it with its proof, and with the reason why not all of its code ran', () =>
      this.#publish('two', 2, '--reason', 'the demo proves without exercises'),
    );
    await t.step('After: it replaced the first', async () => {
      await this.#observeFlaws('fixed', `livepatch ${second.module}`);
      t.observe('livepatches in memory', second.module, (await this.patched.modulesAfterUnload()).join(', '));
      t.observe('boot id', bootId, await this.patched.host.bootId());
      const result = await workload?.stop();
      t.note(
        `${result?.echoed} records went round in ${result?.seconds.toFixed(0)} s, longest gap ${result?.longestGapMs.toFixed(0)} ms`,
      );
      t.observe('records the TCP workload lost', '0', String(result?.lost));
      t.observe('complaints in the kernel log', '', (await this.patched.complaints()).join('; '));
    });
  }

  async #build(name: string, ids: readonly string[]): Promise<Livepatch> {
    const out = join(this.#operator.home, name);
    const { kernel } = this.#options.subject;
    const manifest = await this.#operator.kmend<Livepatch>('build', '--kernel', kernel, '--fix', ...ids, '--out', out);
    const { byteProof } = manifest;
    this.#timeline.observe(`verdict on ${ids.join(', ')}`, 'patchable', manifest.verdict);
    this.#timeline.observe(
      'functions equal to the shipped kernel, byte by byte',
      `${byteProof.compared} of ${byteProof.compared}`,
      `${byteProof.equal} of ${byteProof.compared}`,
    );
    for (const object of manifest.objects)
      this.#timeline.note(`${object.name}: ${object.functions.map((entry) => entry.name).join(', ')}`);
    return manifest;
  }

  async #boot(): Promise<void> {
    const { clock, subject } = this.#options;
    const host = await this.#lab.boot(await this.#kernels.open(subject.kernel), {
      name: 'demo',
      reachesOperator: true,
    });
    this.#patched = new PatchedHost(host, this.#lab, this.#operator, clock);
    const how = host.restored ? 'restored from a saved boot' : 'up';
    this.#timeline.note(`${host.accelerator}, ${how} after ${host.bootSeconds.toFixed(1)} s`);
    this.#timeline.observe('kernel of the host', subject.kernel, await host.check(['uname', '-r']));
  }

  async #prove(name: string, previous: string): Promise<void> {
    const t = this.#timeline;
    const folder = (it: string): string => join(this.#operator.home, it);
    const proof = await this.#operator.kmend<Proof>(
      'prove',
      folder(name),
      '--previous',
      folder(previous),
      '--rounds',
      String(ROUNDS),
      // It takes minutes; the reproducers call what they reproduce.
      '--no-exercise',
    );
    for (const { name: step, outcome } of proof.steps)
      t.observe(`proof, ${step}`, step === 'exercise' ? 'not-made' : 'passed', outcome);
    const { transitions, longestTransitionSeconds, memory } = proof.figures;
    t.note(`${transitions} transitions, the longest ${longestTransitionSeconds} s`);
    t.note(`memory kept a round: ${memory?.slope} bytes; a leak is more than ${memory?.bound} with ${ROUNDS} rounds`);
  }

  async #publish(name: string, serial: number, ...more: string[]): Promise<void> {
    const t = this.#timeline;
    const folder = join(this.#operator.home, name);
    const published = await this.#operator.kmend<{ serial: number }>('publish', folder, ...more);
    t.observe('serial published', String(serial), String(published.serial));
    const begin = this.#options.clock.monotonic();
    const detail = await this.patched.untilReported(serial);
    t.note(`in force and reported ${((this.#options.clock.monotonic() - begin) / 1000).toFixed(1)} s later`);
    const { coverage, transition, verified } = detail.status;
    t.observe(
      'what the agent reported',
      'current, complete, verified',
      [coverage.state, transition.state, verified.state].join(', '),
    );
  }

  async #observeFlaws(expected: string, code: string): Promise<void> {
    const t = this.#timeline;
    const { flaws, shown, why } = this.#options.subject;
    for (const { id, shows } of flaws) t.observe(`${id} (${shows})`, expected, await this.patched.reproduce(id));
    const inForce = await this.patched.codeOf(shown);
    if (why !== undefined) t.note(why);
    t.observe(`code in force for ${shown}`, code, inForce.text);
    for (const line of inForce.evidence) t.note(`  ${line}`);
  }
}
