import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { KmendError } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { AutopilotStore } from './state.ts';
import { type AutopilotSteps, takeTurn } from './turn.ts';

const KERNEL = { release: '6.1.0-47-amd64', buildId: 'a'.repeat(40), version: '6.1.170-3' };

/** A distribution, a builder, a lab and a server in memory. A livepatch's id names its fixes. */
class World {
  newest = '6.1.176-1';
  fixes: string[] = ['a', 'b', 'c', 'd', 'e'];
  /** A livepatch with all of these fails its proof. */
  bad: string[][] = [];
  readonly published: string[] = [];
  readonly proven: string[] = [];
  readonly done: string[] = [];
  /** Called before and behind each step. */
  at: (step: string) => void = () => {};
  readonly #built = new Map<string, string[]>();

  get steps(): AutopilotSteps {
    const step = async <T>(name: string, work: () => T): Promise<T> => {
      this.at(`${name}: begin`);
      const result = work();
      this.done.push(name);
      this.at(`${name}: end`);
      return result;
    };
    const built = (directory: string): string[] => this.#built.get(directory) ?? [];
    return {
      newest: () => step('newest', () => this.newest),
      inputs: async (to) => `${to} ${this.fixes.join('')}`,
      refresh: () => step('refresh', () => false),
      build: (_, out, aside) =>
        step('build', () => {
          const fixes = this.fixes.filter((fix) => !aside.has(fix));
          this.#built.set(join(out, 'livepatch'), fixes);
          return fixes.length === 0 ? undefined : fixes.join('');
        }),
      fixes: async (out) => built(join(out, 'livepatch')).map((fix) => ({ fix, key: fix })),
      buildSome: (_, ids, out) => step('build-some', () => this.#built.set(out, [...ids]).size > 0),
      prove: (directory) =>
        step('prove', () => {
          const fixes = built(directory);
          if (this.bad.some((some) => some.every((fix) => fixes.includes(fix)))) return 'after: WARNING';
          this.proven.push(fixes.join(''));
          return undefined;
        }),
      publish: (directory) =>
        step('publish', () => {
          const id = built(directory).join('');
          assert.ok(this.proven.includes(id), `${id} is published unproven`);
          // As the server: the same files are not published twice.
          if (this.published.includes(id)) return undefined;
          return this.published.push(id);
        }),
      keep: () => step('keep', () => {}),
      discard: async () => {},
    };
  }
}

async function storeOf(t: TestContext): Promise<AutopilotStore> {
  const home = await mkdtemp(join(tmpdir(), 'kmend-turn-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  return new AutopilotStore(home);
}

function turn(store: AutopilotStore, steps: AutopilotSteps, signal = new AbortController().signal) {
  return takeTurn({ store, clock: systemClock, signal, say: () => {} }, KERNEL, steps);
}

test('builds, proves and publishes once, and again when there is something new', async (t) => {
  const store = await storeOf(t);
  const world = new World();
  const first = await turn(store, world.steps);
  assert.deepEqual([first.step, first.serial, first.livepatch], ['published', 1, 'abcde']);
  world.done.length = 0;
  assert.deepEqual(await turn(store, world.steps), first);
  assert.deepEqual(world.done, ['newest', 'refresh']);
  world.fixes.push('f');
  const second = await turn(store, world.steps);
  assert.deepEqual([second.step, second.serial, world.published], ['published', 2, ['abcde', 'abcdef']]);
});

test('publishes nothing where the key is elsewhere, where nothing is new, and where nothing can be patched', async (t) => {
  const store = await storeOf(t);
  const world = new World();
  const { publish: _, ...keyless } = world.steps;
  assert.equal((await turn(store, keyless)).step, 'proven');
  assert.deepEqual(world.published, []);
  await turn(await storeOf(t), { ...world.steps, newest: async () => KERNEL.version }).then(({ step }) =>
    assert.equal(step, 'current'),
  );
  const other = await storeOf(t);
  await turn(other, world.steps);
  world.newest = '6.1.177-1';
  assert.equal((await turn(other, world.steps)).step, 'unchanged');
  world.fixes = [];
  assert.equal((await turn(other, world.steps)).step, 'nothing');
  assert.deepEqual(world.published, ['abcde']);
});

test('sets aside the fixes that make a proof fail, one or a pair, and publishes the rest', async (t) => {
  for (const [bad, wanted] of [
    [[['b']], 'acde'],
    [[['a'], ['e']], 'bcd'],
    [[['b', 'd']], 'abce'],
    [['a', 'b', 'c', 'd', 'e'].map((fix) => [fix]), undefined],
  ] as const) {
    const store = await storeOf(t);
    const world = new World();
    world.bad = bad.map((some) => [...some]);
    const { step } = await turn(store, world.steps);
    assert.equal(step, wanted === undefined ? 'nothing' : 'published', String(wanted));
    assert.deepEqual(world.published, wanted === undefined ? [] : [wanted]);
    for (const { why } of await store.aside(KERNEL.buildId)) assert.equal(why, 'after: WARNING');
  }
});

test('keeps a failure in the state and tries again; another turn does not stop for it', async (t) => {
  const store = await storeOf(t);
  const world = new World();
  world.at = (step) => {
    if (step === 'prove: begin') throw new KmendError('lab-boot-timeout', 'the guest does not boot');
  };
  const failed = await turn(store, world.steps);
  assert.deepEqual([failed.step, failed.problem?.code], ['proving', 'lab-boot-timeout']);
  world.at = () => {};
  const { step, problem } = await turn(store, world.steps);
  assert.deepEqual([step, problem], ['published', undefined]);
});

test('goes on wherever it was killed: published once, and never unproven', async (t) => {
  const count = async (bad: string[][]): Promise<number> => {
    for (let kill = 1; ; kill++) {
      const store = await storeOf(t);
      const world = new World();
      world.bad = bad;
      let steps = 0;
      const stop = new AbortController();
      world.at = () => {
        if (++steps !== kill) return;
        stop.abort(new Error('killed'));
        throw new Error('killed');
      };
      const before = await turn(store, world.steps, stop.signal).catch(() => undefined);
      if (before !== undefined) return kill - 1;
      world.at = () => {};
      const { step } = await turn(store, world.steps);
      assert.equal(step, 'published', `killed at ${kill}`);
      assert.deepEqual(world.published, [bad.length === 0 ? 'abcde' : 'abde'], `killed at ${kill}`);
    }
  };
  assert.equal(await count([]), 10);
  assert.ok((await count([['c']])) > 20);
});

test('does not take a damaged list of what was set aside for an empty one', async (t) => {
  const store = await storeOf(t);
  const world = new World();
  await mkdir(store.folder(KERNEL.buildId), { recursive: true });
  await writeFile(join(store.folder(KERNEL.buildId), 'aside.json'), '[{"key": "b",]');
  const { problem } = await turn(store, world.steps);
  assert.equal(problem?.code, 'autopilot-aside');
  assert.deepEqual(world.published, []);
});
