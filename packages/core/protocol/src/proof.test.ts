import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Proof, ProofStepName, type RanFunction, ranShare, whyNotRun } from './proof.ts';

const entry = (count: number | null, inMemory = true): RanFunction => ({
  object: 'vmlinux',
  name: 'f',
  sympos: 0,
  source: 'a.c',
  count,
  inMemory,
});

/** A record as `kmend prove` writes it, with these steps. */
function record(names: readonly ProofStepName[], more: object = {}): unknown {
  return {
    schema: 'kmend.proof/1',
    livepatch: { id: '0123456789ab', module: 'kmend_0123456789ab', sha256: 'a'.repeat(64) },
    kernel: { buildId: 'b'.repeat(40), release: '6.1.0-47-amd64' },
    passed: true,
    steps: names.map((name) => ({ name, outcome: 'passed', seconds: 1, details: [] })),
    notShown: [],
    previous: null,
    reproduced: [],
    figures: { transitions: 1, longestTransitionSeconds: 1, rounds: 1, memory: null },
    lab: { accelerator: 'kvm', cpus: 2, memoryMb: 1024 },
    made: '2026-11-20T00:00:00.000Z',
    prover: { name: 'kmend', version: '0.1.0' },
    ...more,
  };
}

test('rounds a share down, and counts a function without a probe as not run', () => {
  assert.deepEqual(ranShare({ ran: [entry(7), entry(1), entry(null)] }), { ran: 2, of: 3, percent: 66 });
  assert.deepEqual(ranShare({ ran: [] }), { ran: 0, of: 0, percent: 100 });
  assert.equal(ranShare({ ran: null }), undefined);
  assert.equal(ranShare({}), undefined);
});

test('gives the reason of each function that did not run', () => {
  assert.deepEqual([entry(1), entry(0), entry(0, false), entry(null)].map(whyNotRun), [
    undefined,
    'not called',
    'its module was not in memory',
    'the kernel takes no probe there',
  ]);
});

test('reads records from before functions were counted, without figures of what ran', () => {
  const earlier = ProofStepName.options.filter((name) => name !== 'exercise');
  const proof = Proof.parse(record(earlier));
  assert.equal(ranShare(proof), undefined);
  assert.deepEqual(ranShare(Proof.parse(record(ProofStepName.options, { ran: [entry(3)] }))), {
    ran: 1,
    of: 1,
    percent: 100,
  });
});

test('rejects a record without a mandatory step', () => {
  for (const gone of ['boot', 'rounds', 'kernel-log'] as const) {
    assert.ok(!Proof.safeParse(record(ProofStepName.options.filter((name) => name !== gone))).success, gone);
  }
});
