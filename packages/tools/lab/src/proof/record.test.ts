import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { isProven, ProofStepName } from '@kmend/protocol';
import { ProofFailure } from './failure.ts';
import { ProofRecord } from './record.ts';

const record = (): ProofRecord => new ProofRecord(systemClock, silentProgress);
const passes = async (): Promise<undefined> => undefined;

test('records a step as passed, as skipped for a reason, or as failed with what was seen', async () => {
  const it = record();
  await it.make('boot', async (say) => {
    say('up');
    return undefined;
  });
  await it.make('before', async () => 'no reproducer');
  const failing = it.make('load', async (say) => {
    say('loaded');
    throw new ProofFailure('the transition did not end', ['kswapd0 (71: kswapd)']);
  });
  await assert.rejects(failing, ProofFailure);
  const steps = it.finish();
  assert.deepEqual(
    steps.map(({ name }) => name),
    ProofStepName.options,
  );
  assert.deepEqual(
    steps.slice(0, 4).map(({ outcome, details }) => [outcome, details]),
    [
      ['passed', ['up']],
      ['not-made', ['no reproducer']],
      ['failed', ['loaded', 'the transition did not end', 'kswapd0 (71: kswapd)']],
      ['not-made', ['not reached: load failed']],
    ],
  );
  assert.equal(isProven(steps), false);
});

test('distinguishes failures of the lab from those of the livepatch', async () => {
  const it = record();
  await assert.rejects(
    it.make('boot', () => Promise.reject(new Error('no disk'))),
    /no disk/,
  );
  assert.equal(it.finish()[0]?.outcome, 'not-made');
});

test('lets only some steps be skipped for a reason', async () => {
  for (const [left, proven] of [
    ['before', true],
    ['replace', true],
    ['modules-after', true],
    ['load', false],
    ['rounds', false],
    ['kernel-log', false],
  ] as const) {
    const it = record();
    for (const name of ProofStepName.options) await it.make(name, name === left ? async () => 'why' : passes);
    assert.equal(isProven(it.finish()), proven, left);
  }
});
