import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countAxes, type HostGroup, isNoneNeeded, presenceOf } from './presence.ts';

const group: HostGroup = {
  contact: 'ok',
  coverage: 'covered',
  loaded: 'loaded',
  transition: 'done',
  verified: 'ok',
  isSilent: false,
  isNoneNeeded: false,
  nextKernel: 'newest',
  hosts: 2,
};

test('shows a host as replaced before silent, and as silent before never reported', () => {
  const host = { enrolled: '2026-11-01', lastReport: null, replacedBy: null };
  assert.equal(presenceOf(host, '2026-10-01'), 'never');
  assert.equal(presenceOf(host, '2026-11-02'), 'silent');
  assert.equal(presenceOf({ ...host, lastReport: '2026-11-03' }, '2026-11-02'), 'reporting');
  assert.equal(presenceOf({ ...host, replacedBy: 'x' }, '2026-11-02'), 'replaced');
});

test('counts silent hosts as silent on every axis, and hosts that need no livepatch as such', () => {
  const counts = countAxes([
    group,
    { ...group, nextKernel: 'waits-for-reboot', hosts: 1 },
    { ...group, isSilent: true, hosts: 4 },
    { ...group, isNoneNeeded: true, loaded: 'none', hosts: 8 },
  ]);
  const of = (axis: string): Record<string, number> =>
    Object.fromEntries(counts.filter((it) => it.axis === axis).map(({ state, hosts }) => [state, hosts]));
  assert.deepEqual(of('loaded'), { loaded: 3, silent: 4, 'not-needed': 8 });
  assert.deepEqual(of('contact'), { ok: 11, silent: 4 });
  assert.deepEqual(of('kernel'), { newest: 10, 'waits-for-reboot': 1, silent: 4 });
});

test('says that no livepatch is needed only if none is in force', () => {
  assert.deepEqual(
    [isNoneNeeded('none-needed', null), isNoneNeeded('none-needed', 3), isNoneNeeded(null, null)],
    [true, false, false],
  );
});
