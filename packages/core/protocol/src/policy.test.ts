import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aboveFloor, chosenSerial, KernelPolicy, needsNone, rolloutPosition } from './policy.ts';

const buildId = 'ab'.repeat(20);

function policy(overrides: Partial<KernelPolicy> = {}): KernelPolicy {
  return KernelPolicy.parse({
    schema: 'kmend.kernel-policy/1',
    buildId,
    channels: { stable: { settled: 3, rollout: { id: 'r4', serial: 4, permyriad: 2500 } } },
    withdrawn: [],
    issued: '2026-01-01T00:00:00Z',
    ...overrides,
  });
}

const hosts = Array.from({ length: 4000 }, (_, index) => `host-${index}`);

test('offers a rollout to its share of the hosts and the settled livepatch to the rest', () => {
  const chosen = hosts.map((host) => chosenSerial(policy(), 'stable', host));
  const inside = chosen.filter((serial) => serial === 4).length;
  assert.ok(inside > 850 && inside < 1150, `${inside} of 4000 hosts at 25 %`);
  assert.equal(chosen.filter((serial) => serial === 3).length, 4000 - inside);
});

test('only adds hosts when the share grows', () => {
  for (const host of hosts.slice(0, 300)) {
    const position = rolloutPosition(host, 'r4');
    const at = (permyriad: number) =>
      chosenSerial(
        policy({ channels: { stable: { settled: 3, rollout: { id: 'r4', serial: 4, permyriad } } } }),
        'stable',
        host,
      );
    assert.equal(at(position), 3);
    assert.equal(at(position + 1), 4);
  }
});

test('orders the hosts differently for another rollout', () => {
  const first = (id: string) => hosts.filter((host) => rolloutPosition(host, id) < 500);
  const later = new Set(first('r5'));
  const both = first('r4').filter((host) => later.has(host));
  assert.ok(both.length < 40, `${both.length} hosts are first in both`);
});

test('never chooses a withdrawn livepatch, neither from a rollout nor as settled', () => {
  const withdrawn = [
    { serial: 4, reason: 'oops' },
    { serial: 3, reason: 'oops' },
  ];
  for (const host of hosts.slice(0, 50)) assert.equal(chosenSerial(policy({ withdrawn }), 'stable', host), null);
});

test('offers nothing in a channel without policy', () => {
  assert.equal(chosenSerial(policy(), 'canary', 'host-1'), null);
});

test('reports that a channel needs no livepatch only if the operator says so and nothing is settled', () => {
  const stable = { settled: null, rollout: null, noneNeeded: true };
  const said = policy({ channels: { stable, early: { ...stable, settled: 3 } } });
  assert.equal(needsNone(said, 'stable'), true);
  assert.equal(needsNone(said, 'early'), false, 'a serial is settled');
  assert.equal(needsNone(said, 'canary'), false, 'nothing is said of that channel');
  assert.equal(needsNone(policy(), 'stable'), false);
});

test('makes hosts of every channel run the floor’s livepatch or a later one, whatever policy says', () => {
  const published = new Set([1, 2, 3, 4, 5]);
  const at = (floor: number, said?: KernelPolicy, channel: 'stable' | 'canary' = 'stable') => {
    const obeyed = aboveFloor(buildId, said, { floor, published });
    return { serial: chosenSerial(obeyed, channel, 'host-1'), withdrawn: obeyed.withdrawn.map((it) => it.serial) };
  };
  const settled = (serial: number | null, withdrawn: readonly number[] = []) =>
    policy({
      channels: { stable: { settled: serial, rollout: null } },
      withdrawn: withdrawn.map((it) => ({ serial: it, reason: 'it hangs' })),
    });
  assert.deepEqual(at(3, settled(5)), { serial: 5, withdrawn: [] });
  assert.deepEqual(at(3, settled(1)), { serial: 3, withdrawn: [] }, 'downgraded');
  assert.deepEqual(at(3, settled(null)), { serial: 3, withdrawn: [] }, 'nothing settled');
  assert.deepEqual(at(3, settled(9)), { serial: 3, withdrawn: [] }, 'never published');
  assert.deepEqual(at(3, settled(1, [2, 3, 4, 5])), { serial: 3, withdrawn: [2, 4, 5] }, 'all withdrawn');
  assert.deepEqual(at(3, settled(5), 'canary'), { serial: 3, withdrawn: [] }, 'a channel left out');
  assert.deepEqual(at(3, undefined), { serial: 3, withdrawn: [] }, 'no policy at all');
  const rolled = (serial: number) =>
    policy({ channels: { stable: { settled: 3, rollout: { id: 'r', serial, permyriad: 10_000 } } } });
  assert.deepEqual(at(3, rolled(2)), { serial: 3, withdrawn: [] });
  assert.deepEqual(at(3, rolled(4)), { serial: 4, withdrawn: [] });
});
