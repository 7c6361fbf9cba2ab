import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Run } from '@kmend/base';
import { commit } from '../loader/context.ts';
import { withEvent } from '../state/journal.ts';
import { makeHost, never, type TestHost } from '../testing/host.ts';
import { createTeller, type Teller } from './teller.ts';

interface World {
  readonly host: TestHost;
  readonly teller: Teller;
  readonly started: string[];
  /** The report that is under way ends. */
  finish(): Promise<void>;
  happen(): Promise<unknown>;
}

/** A host with one event that was never told, and a systemd whose report unit ends when it is told to. */
async function makeWorld(t: TestContext, states: string[] = []): Promise<World> {
  const host = await makeHost(t);
  const happen = () =>
    commit(host.loader, (journal, { at }) => withEvent(journal, { at, code: 'held', message: 'something' }));
  await happen();
  const started: string[] = [];
  const pending: (() => void)[] = [];
  const run: Run = async (_file, [word = '', unit = '']) => {
    const stdout = Buffer.from(word === 'is-active' ? (states.shift() ?? 'inactive') : '');
    if (word === 'start') {
      started.push(unit);
      await new Promise<void>((resolve) => pending.push(resolve));
    }
    return { exitCode: 0, stdout, stderr: '' };
  };
  let done = (): void => {};
  const loader = { ...host.loader, edges: { ...host.loader.edges, run } };
  const teller = await createTeller(loader, () => done(), never);
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    host,
    teller,
    started,
    happen,
    async finish() {
      await settle();
      const ended = new Promise<void>((resolve) => {
        done = resolve;
      });
      for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
        next();
        await settle();
      }
      await ended;
    },
  };
}

test('reports events at once, one report at a time', async (t) => {
  const { teller, started, happen, finish } = await makeWorld(t);
  teller.tell();
  assert.equal(teller.isBusy, true);
  await happen();
  teller.tell();
  await finish();
  assert.deepEqual([started.length, teller.isBusy], [1, false]);
  teller.tell();
  await finish();
  teller.tell();
  assert.deepEqual([started.length, teller.isBusy], [2, false]);
});

test('sends another report after one that was started before the event', async (t) => {
  const { teller, started, finish } = await makeWorld(t, ['activating']);
  teller.tell();
  await finish();
  assert.deepEqual(started, ['kmend-agent-report.service', 'kmend-agent-report.service']);
});
