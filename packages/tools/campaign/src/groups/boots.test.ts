import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyJournal, type Journal } from '@kmend/agent/journal';
import { groups } from '../groups.ts';
import type { Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import type { Rig } from '../rig.ts';
import { countOf, heldThere, unquarantined } from './boots.ts';
import { idleThere } from './capture.ts';
import { ended } from './late.ts';
import { tells } from './twin.ts';

const at = '2026-11-24T12:00:00.000Z';

function seenWith(journal: Partial<Journal>): Observation {
  return {
    before: [],
    after: [],
    claims: undefined,
    said: '',
    effect: 'vulnerable',
    journal: JSON.stringify({ ...emptyJournal, ...journal }),
    journalProblem: undefined,
    remains: [],
    foreign: [],
    handed: [],
    buildIds: {},
    system: 'running',
    failedUnits: [],
    enabled: [],
  };
}
const event = (number: number, code: string) => ({ number, at, code, message: code, serial: 2 });

test('reports a boot that lacks a livepatch, or has one that it should not have', () => {
  assert.deepEqual(heldThere('booted\nkmend_b', 'kmend_b'), []);
  assert.deepEqual(heldThere('booted', undefined), []);
  assert.equal(heldThere('booted', 'kmend_b').length, 1);
  assert.equal(heldThere('booted\nkmend_b', undefined).length, 1);
  assert.equal(heldThere('booted\nkmend_a\nkmend_b', 'kmend_b').length, 1);
});

test('detects a capture kernel', () => {
  assert.deepEqual(idleThere('captured\ninactive\n'), []);
  assert.match(idleThere('captured\nactive\nkmend_b\n')[0]?.text ?? '', /active kmend_b/);
});

test('reads a quarantine from the journal where the agent gives no status', () => {
  const quarantined = [{ buildId: 'cd'.repeat(20), serial: 2, id: 'b'.repeat(12), code: 'crashed', reason: 'x', at }];
  assert.deepEqual(unquarantined(seenWith({})), []);
  assert.match(unquarantined(seenWith({ quarantined }))[0]?.text ?? '', /serial 2 is quarantined \(crashed\)/);
});

test('reports an orderly end without a mark, and an uncounted cut', () => {
  const cut = seenWith({ events: [event(1, 'loaded'), event(2, 'went-down')] });
  assert.equal(countOf(cut, 'went-down'), 1);
  assert.deepEqual([ended(cut, 'cut').length, ended(cut, 'orderly').length], [0, 1]);
  assert.deepEqual([ended(seenWith({}), 'cut').length, ended(seenWith({}), 'orderly').length], [1, 0]);
});

test('accepts the server’s view only where serial and state agree', () => {
  assert.equal(tells({ effectiveSerial: 2, loaded: 'loaded' }, 2), true);
  assert.equal(tells({ effectiveSerial: 1, loaded: 'loaded' }, 2), false);
  assert.equal(tells({ effectiveSerial: null, loaded: 'none' }, null), true);
  assert.equal(tells({ effectiveSerial: null, loaded: 'loaded' }, null), false);
});

test('names every round of a group differently, because results are kept by name', () => {
  const around = { rig: {} as Rig, life: {} as Life, steps: undefined, count: Number.POSITIVE_INFINITY };
  for (const group of groups.filter((it) => !it.needsSteps)) {
    const ids = group.rounds(around).map((round) => round.id);
    assert.deepEqual([...new Set(ids)], ids, group.name);
  }
});
