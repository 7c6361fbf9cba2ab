import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FleetPolicy } from '@kmend/protocol';
import { beginsPolicy, changedFleetPolicy } from './policy.ts';

const before: FleetPolicy = {
  schema: 'kmend.fleet-policy/1',
  checkIntervalSeconds: 3600,
  halted: false,
  issued: '2026-11-01T00:00:00Z',
};

test('keeps what a change of the fleet’s policy does not name', () => {
  assert.deepEqual(changedFleetPolicy(before, {}), before);
  assert.deepEqual(changedFleetPolicy(before, { halted: true }), { ...before, halted: true });
  assert.deepEqual(changedFleetPolicy({ ...before, halted: true }, { halted: false }), before);
  assert.deepEqual(changedFleetPolicy(before, { checkIntervalSeconds: 60 }), { ...before, checkIntervalSeconds: 60 });
  assert.deepEqual(changedFleetPolicy({ ...before, consolidate: true }, { halted: false }), {
    ...before,
    consolidate: true,
  });
});

test('gives a first policy only to a kernel that needs no livepatch yet', () => {
  assert.equal(beginsPolicy({}), false);
  assert.equal(beginsPolicy({ channels: { stable: { settled: 3, rollout: null } } }), false);
  assert.equal(beginsPolicy({ channels: { stable: { settled: null, rollout: null, noneNeeded: true } } }), true);
});
