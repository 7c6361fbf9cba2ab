import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Report } from '@kmend/protocol';
import { paths } from '../edges/paths.ts';
import { whatToTell } from '../fetcher/report.ts';
import * as machine from '../state/machine.ts';
import { code } from '../testing/errors.ts';
import { check, makeFetcher, makeHost, never, type TestHost, view } from '../testing/host.ts';
import { TestPackages } from '../testing/packages.ts';
import { moduleOf } from '../testing/repository.ts';
import { boot, reconcileBoot } from './boot.ts';
import { type Considered, consider } from './consider.ts';
import { commit } from './context.ts';
import { handOver } from './hand-over.ts';
import { revert } from './revert.ts';

const FIXES = ['CVE-2026-1', 'CVE-2026-2', 'CVE-2026-3'];

interface StackedHost extends TestHost {
  readonly packages: TestPackages;
  readonly stack: readonly string[];
}

/** A host whose packages have two livepatches in force, and a repository with a cumulative one of all fixes. */
async function makeStacked(t: TestContext, config: Parameters<typeof makeHost>[1] = {}): Promise<StackedHost> {
  const host = await makeHost(t, config);
  const packages = await TestPackages.make(host.kernel);
  const stack = [await packages.install(1, ['CVE-2026-1']), await packages.install(2, ['CVE-2026-2'])];
  host.repository.fixes = FIXES;
  host.repository.choose(5);
  return Object.assign(host, { packages, stack });
}

const byHand = (host: TestHost): Promise<Considered> =>
  consider(host.loader, { order: { serial: null, consolidate: true }, fetched: [] }, never);

async function inForce({ kernel }: TestHost): Promise<string[]> {
  const names = (await kernel.edges().files.names('/sys/kernel/livepatch')) ?? [];
  const enabled: string[] = [];
  for (const name of names) if (await kernel.isEnabled(name)) enabled.push(name);
  return enabled;
}

const insmods = (host: TestHost): number => host.kernel.commands.filter((it) => it.startsWith('insmod')).length;
const lastCode = ({ loader }: TestHost): string | undefined => loader.store.journal.events.at(-1)?.code;

/** Another boot of the host: the agent's unit comes first. */
async function reboot(host: StackedHost): Promise<string> {
  await host.kernel.boot();
  const { outcome } = await boot(await host.restart());
  await host.packages.sync();
  return outcome;
}

test('loads nothing by check, command or boot while the packages drive, and says so', async (t) => {
  const host = await makeStacked(t);
  for (const order of [undefined, { serial: null }, { serial: 5 }]) {
    const what = { fetched: [], ...(order === undefined ? {} : { order }) };
    assert.deepEqual(await consider(host.loader, what, never), {
      ...{ action: 'none', reason: 'conflict-packages', chosen: 5, serial: null },
    });
  }
  assert.equal(insmods(host), 0);
  assert.equal(host.loader.observed.value.problem, null);
  const { status, exitCode, effectiveSerial } = await view(host);
  assert.deepEqual([exitCode, effectiveSerial], [0, null]);
  assert.deepEqual(
    [status.coverage.state, status.loaded.state, status.transition.state, status.verified.state],
    ['current', 'loaded', 'complete', 'verified'],
  );
  assert.match(status.coverage.detail ?? '', /packages drive/);
  assert.equal(await reboot(host), 'packages-drive');
  assert.deepEqual(await inForce(host), host.stack);
});

test('leaves an installed stack that is not in force to the packages, and drives without one', async (t) => {
  const host = await makeStacked(t);
  await host.kernel.boot();
  assert.equal((await boot(await host.restart())).outcome, 'packages-drive');
  assert.equal((await check(host.loader, never)).reason, 'conflict-packages');
  assert.equal((await view(host)).exitCode, 1);
  host.packages.installed.length = 0;
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('does not load over packages that appear after the preflight', async (t) => {
  const host = await makeHost(t);
  const packages = await TestPackages.make(host.kernel);
  host.repository.choose(5);
  const fetch = host.repository.fetchLivepatch.bind(host.repository);
  let stacked = '';
  host.repository.fetchLivepatch = async (buildId, serial) => {
    stacked = await packages.install(1, ['CVE-2026-1']);
    return await fetch(buildId, serial);
  };
  await assert.rejects(check(host.loader, never), code('conflict-packages'));
  assert.deepEqual([insmods(host), await inForce(host)], [0, [stacked]]);
});

test('does not load while the packages’ loader gives an invalid answer, but follows a withdrawal', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(5);
  await check(host.loader, never);
  await host.advance(1_000);
  const packages = await TestPackages.make(host.kernel);
  packages.trouble = { command: 'status', exitCode: 5, says: 'the state is of a later kmend-livepatch (state-newer)' };
  host.repository.choose(6);
  await assert.rejects(check(host.loader, never), (error: Error) => {
    assert.match(error.message, /state-newer/);
    return code('packages-unreadable')(error);
  });
  host.repository.choose(null, [5]);
  assert.equal((await check(host.loader, never)).action, 'revert');
});

test('keeps the packages’ state for the report, and asks again if the kernel differs', async (t) => {
  const host = await makeStacked(t);
  const fetcher = await makeFetcher(host);
  const told = await whatToTell(fetcher);
  assert.deepEqual([told.content.stack, told.astray], [undefined, false]);
  await check(host.loader, never);
  const { content, astray } = await whatToTell(fetcher);
  assert.deepEqual([content.stack?.strategy, content.stack?.depth, astray], ['temporary', 2, false]);
  assert.equal(content.trouble?.reason, 'conflict-packages');
  assert.equal(Report.parse({ ...content, at: '2026-11-01T00:00:00Z', sequence: 1 }).stack?.livepatches.length, 2);
  await host.packages.install(3, ['CVE-2026-3']);
  assert.equal((await whatToTell(fetcher)).astray, true);
  await check(host.loader, never);
  const after = await whatToTell(fetcher);
  assert.deepEqual([after.content.stack?.depth, after.astray], [3, false]);
});

test('reports a consolidation that cannot ask the packages', async (t) => {
  const host = await makeStacked(t);
  host.packages.trouble = { command: 'status', exitCode: 5, says: 'the state cannot be read (state-damaged)' };
  await assert.rejects(byHand(host), code('packages-unreadable'));
  assert.deepEqual(await inForce(host), host.stack);
});

test('replaces the stack at once, unloads it, and drives the host permanently after a good soak', async (t) => {
  const host = await makeStacked(t, { soakSeconds: 60 });
  assert.equal((await byHand(host)).action, 'load');
  assert.equal(host.packages.yielded, await host.kernel.bootId());
  assert.equal(await host.advance(5_000), 'soak');
  assert.deepEqual(await inForce(host), [moduleOf(5)]);
  const modules = await host.kernel.modules();
  assert.ok(
    host.stack.every((it) => !modules.includes(it)),
    modules,
  );
  assert.equal((await view(host)).effectiveSerial, 5);
  assert.equal(await host.advance(200_000), 'good');
  assert.deepEqual([host.packages.yielded, host.loader.store.journal.consolidation], [true, null]);
  assert.equal(lastCode(host), 'consolidated');
  assert.equal(await reboot(host), 'loading');
  await host.advance(1_000);
  assert.deepEqual(await inForce(host), [moduleOf(5)]);
});

test('writes the journal before the packages yield, and lets them yield before it asks the kernel', async (t) => {
  const host = await makeStacked(t);
  const steps: string[] = [];
  const before = host.kernel.beforeWrite;
  host.kernel.beforeWrite = (path) => {
    if (path === paths.journal) steps.push('journal');
    before(path);
  };
  host.kernel.aroundRun = (program, argument) => {
    const step = program === 'insmod' ? program : argument;
    if (['insmod', 'yield', 'take'].includes(step) && steps.at(-1) !== step) steps.push(step);
  };
  await byHand(host);
  assert.deepEqual(steps, ['journal', 'yield', 'journal', 'insmod', 'journal']);
});

const obstacles: Record<string, readonly [wanted: string, spoil: (host: StackedHost) => unknown]> = {
  'lacks fixes of the stack': [
    'fixes-missing',
    ({ repository }) => Object.assign(repository, { fixes: ['CVE-2026-1'] }),
  ],
  'finds no stack': ['no-stack', ({ packages }) => Object.assign(packages, { yielded: true })],
  'finds a hold': ['packages-held', ({ packages }) => Object.assign(packages, { hold: 'stay' })],
  'finds a transition': ['packages-busy', ({ packages, stack }) => packages.phases.set(stack[1] ?? '', 'transition')],
  'finds a soak': ['packages-busy', ({ packages, stack }) => packages.phases.set(stack[0] ?? '', 'soak')],
  'finds a foreign livepatch in the kernel': ['conflict-livepatch', ({ kernel }) => kernel.stand('kmend_aaaaaaaaaaaa')],
  'finds a kernel that is not sound': [
    'kernel-tainted',
    ({ kernel }) => kernel.write('/proc/sys/kernel/tainted', '128\n'),
  ],
  'finds packages that do not yield': [
    'packages-failed',
    ({ packages }) => Object.assign(packages, { trouble: { command: 'yield', exitCode: 5, says: 'no (busy)' } }),
  ],
};

for (const [name, [wanted, spoil]] of Object.entries(obstacles)) {
  test(`changes nothing in a consolidation that ${name}`, async (t) => {
    const host = await makeStacked(t);
    const { stack } = host;
    await spoil(host);
    const { yielded } = host.packages;
    await assert.rejects(byHand(host), (error: Error) => {
      if (wanted === 'fixes-missing') assert.match(error.message, /: CVE-2026-2$/);
      return code(wanted)(error);
    });
    assert.equal(insmods(host), 0);
    assert.ok((await inForce(host)).join().includes(stack.join()));
    assert.equal(host.loader.store.journal.consolidation, null);
    assert.equal(host.packages.yielded, yielded);
  });
}

test('lets the packages drive again with their stack in force if the kernel refuses', async (t) => {
  const host = await makeStacked(t);
  host.kernel.refusal = 'Invalid argument';
  await assert.rejects(byHand(host), code('load-refused'));
  assert.deepEqual([host.packages.yielded, host.loader.store.journal.consolidation], [null, null]);
  assert.deepEqual(await inForce(host), host.stack);
  assert.equal((await byHand(host)).reason, 'quarantined');
  assert.equal((await check(host.loader, never)).reason, 'conflict-packages');
  assert.equal((await view(host)).exitCode, 0);
});

test('does not blame a livepatch for a transition of the packages', async (t) => {
  const host = await makeStacked(t);
  host.kernel.refusal = 'Device or resource busy';
  await assert.rejects(byHand(host), code('conflict-transition'));
  assert.deepEqual(host.loader.store.journal.quarantined, []);
  assert.equal(host.packages.yielded, null);
});

test('gives the host back to the packages when the livepatch is reverted in its soak', async (t) => {
  const host = await makeStacked(t);
  await byHand(host);
  assert.equal(await host.advance(5_000), 'soak');
  await revert(host.loader, false);
  await host.advance(5_000);
  await host.advance(1_000);
  assert.deepEqual(await inForce(host), host.stack);
  assert.deepEqual([host.packages.yielded, host.loader.store.journal.consolidation], [null, null]);
});

test('asks the packages again if they cannot take over', async (t) => {
  const host = await makeStacked(t);
  host.kernel.refusal = 'Invalid argument';
  host.packages.trouble = { command: 'take', exitCode: 5, says: 'another one is at work (busy)' };
  await assert.rejects(byHand(host), code('load-refused'));
  assert.notEqual(host.loader.store.journal.consolidation, null);
  assert.notEqual(host.loader.observed.value.wakeAt, null);
  host.packages.trouble = undefined;
  await host.advance(60_000);
  assert.equal(host.loader.store.journal.consolidation, null);
  assert.equal(host.packages.yielded, null);
});

test('after a crash in the soak, quarantines the livepatch and lets the packages load their stack', async (t) => {
  const host = await makeStacked(t);
  await byHand(host);
  assert.equal(await host.advance(5_000), 'soak');
  assert.equal(await reboot(host), 'packages-drive');
  assert.deepEqual(await inForce(host), host.stack);
  assert.equal(host.loader.store.journal.quarantined[0]?.code, 'crashed');
  assert.equal(host.loader.store.journal.consolidation, null);
});

test('gives the host back to the packages after an orderly reboot in the soak', async (t) => {
  const host = await makeStacked(t);
  await byHand(host);
  await host.advance(5_000);
  await commit(host.loader, machine.markShutdown);
  assert.equal(await reboot(host), 'packages-drive');
  assert.deepEqual(await inForce(host), host.stack);
  assert.ok(host.loader.store.journal.events.some((it) => it.code === 'consolidation-ended'));
});

/**
 * Dies at the given step: a journal about to be written, a program about to run, or one that has just run. Nothing
 * happens afterwards.
 */
function dieAt({ kernel }: TestHost, step: number): { readonly dead: boolean } {
  const state = { dead: false };
  let count = 0;
  const die = (): void => {
    if (state.dead || count++ === step) {
      state.dead = true;
      throw new Error('died');
    }
  };
  kernel.beforeWrite = () => die();
  kernel.aroundRun = (program, argument) => {
    if (state.dead || program === 'insmod' || argument === 'yield' || argument === 'take') die();
  };
  return state;
}

function revive({ kernel }: TestHost): void {
  kernel.beforeWrite = () => {};
  kernel.aroundRun = () => {};
}

/** Lives from an order to the end of the soak; then again after each death. */
async function live(host: StackedHost, begin: () => Promise<unknown>): Promise<void> {
  try {
    await begin();
    for (let i = 0; i < 5; i += 1) await host.advance(100_000);
  } catch {
    // It died, or was refused: what counts is how the next life finds the host.
  }
}

/** Somebody drives this host, and all of it is in force. */
async function assertDriven(host: StackedHost, when: string): Promise<void> {
  const agents = host.loader.store.journal.current;
  const names = await inForce(host);
  const yielded = host.packages.yielded === true || host.packages.yielded === (await host.kernel.bootId());
  if (yielded) assert.deepEqual([names, agents?.module], [[moduleOf(5)], moduleOf(5)], when);
  else assert.deepEqual(names, host.stack, when);
}

for (const [name, begin, ready] of [
  ['consolidation', (host: StackedHost) => byHand(host), async () => {}],
  [
    'hand-over in the soak',
    (host: StackedHost) => handOver(host.loader, () => {}),
    async (host: StackedHost) => {
      await byHand(host);
      await host.advance(5_000);
    },
  ],
  [
    'hand-over',
    (host: StackedHost) => handOver(host.loader, () => {}),
    async (host: StackedHost) => {
      await byHand(host);
      for (let i = 0; i < 3; i += 1) await host.advance(100_000);
    },
  ],
] as const) {
  test(`leaves a driver of the host after a ${name} that dies at any step, in this boot and the next`, async (t) => {
    let step = 0;
    for (let died = true; died; step += 1) {
      for (const next of ['life', 'boot'] as const) {
        const host = await makeStacked(t, { soakSeconds: 60 });
        await ready(host);
        const death = dieAt(host, step);
        await live(host, () => begin(host));
        died = death.dead;
        revive(host);
        if (next === 'boot') await reboot(host);
        else {
          await host.restart();
          await reconcileBoot(host.loader);
        }
        for (let i = 0; i < 5; i += 1) await host.advance(100_000);
        await check(host.loader, never);
        for (let i = 0; i < 5; i += 1) await host.advance(100_000);
        await assertDriven(host, `${name}, step ${step}, next ${next}`);
        await reboot(host);
        await host.advance(5_000);
        await assertDriven(host, `${name}, step ${step}, next ${next}, and a boot`);
      }
    }
    assert.ok(step > 5, `${step} steps`);
  });
}

test('lets the packages drive and load again after undo, and quarantines nothing', async (t) => {
  const host = await makeStacked(t, { soakSeconds: 60 });
  await byHand(host);
  for (let i = 0; i < 3; i += 1) await host.advance(100_000);
  const told: string[] = [];
  assert.equal(await handOver(host.loader, (text) => told.push(text)), 5);
  assert.match(told.join(), /for some seconds nothing is in force/);
  assert.deepEqual(await inForce(host), host.stack);
  host.repository.fleet = { ...host.repository.fleet, consolidate: true };
  for (let i = 0; i < 2; i += 1) {
    assert.equal((await check(host.loader, never)).reason, 'conflict-packages');
    assert.equal((await view(host)).exitCode, 0);
    assert.equal(host.loader.observed.value.problem, null);
    assert.equal(host.loader.observed.value.stack?.strategy, 'temporary');
    assert.deepEqual(host.loader.store.journal.quarantined, []);
    assert.equal(await reboot(host), 'packages-drive');
    assert.deepEqual(await inForce(host), host.stack);
  }
  // What a person gave back, a person takes.
  assert.equal((await byHand(host)).action, 'load');
});

test('refuses --undo where no package can take over, and keeps driving where they fail', async (t) => {
  const host = await makeStacked(t, { soakSeconds: 60 });
  await byHand(host);
  for (let i = 0; i < 3; i += 1) await host.advance(100_000);
  const installed = host.packages.installed.splice(0);
  await assert.rejects(
    handOver(host.loader, () => {}),
    code('no-stack'),
  );
  host.packages.installed.push(...installed);
  host.packages.trouble = { command: 'take', exitCode: 5, says: 'another one is at work (busy)' };
  await assert.rejects(
    handOver(host.loader, () => {}),
    code('packages-failed'),
  );
  assert.equal(host.loader.store.journal.current?.phase, 'good');
  assert.deepEqual(await inForce(host), [moduleOf(5)]);
  assert.equal((await check(host.loader, never)).reason, 'up-to-date');
});

test('a check consolidates by fleet policy once the stack is ready', async (t) => {
  const host = await makeStacked(t);
  host.packages.phases.set(host.stack[0] ?? '', 'soak');
  host.repository.fleet = { ...host.repository.fleet, consolidate: true };
  assert.equal((await check(host.loader, never)).reason, 'conflict-packages');
  assert.notEqual(host.loader.observed.value.wakeAt, null);
  host.packages.phases.clear();
  assert.equal((await check(host.loader, never)).action, 'load');
  assert.equal(await host.advance(5_000), 'soak');
  assert.deepEqual(await inForce(host), [moduleOf(5)]);
});

test('waits for windows, holds and the halt when policy consolidates, as for any load', async (t) => {
  const host = await makeStacked(t);
  host.repository.fleet = { ...host.repository.fleet, consolidate: true, halted: true };
  assert.equal((await check(host.loader, never)).reason, 'halted');
  assert.deepEqual(await inForce(host), host.stack);
});
