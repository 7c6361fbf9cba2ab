import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layout } from '../faults/layout.ts';
import { type Around, groups, SHORT_STEPS } from '../groups.ts';
import { parseObservation } from '../observe.ts';
import { evenly, inTurn, type Place, stepsOf } from './steps.ts';

const step = (op: string, path: string) => ({ n: 1, role: layout.steps.journalled.role, op, path });

test('separates steps that cannot be undone', () => {
  const mine = [
    step('create', `${layout.journal}.0c13.tmp`),
    step('rename', layout.journal),
    step('insmod', `${layout.runtime}/loader/load-0c13.ko`),
    step('rmmod', '/sys/kernel/livepatch/kmend_0c13'),
  ];
  const others = [step('mkdir', layout.journal), step('write', `${layout.state}/loader/repository/metadata/root.json`)];
  assert.deepEqual(stepsOf([...mine, ...others], 'journalled', 'load'), mine);
  assert.deepEqual(stepsOf([...mine, ...others], 'repository', 'load'), others.slice(1));
  assert.deepEqual(stepsOf(mine, 'journalled', 'boot'), []);
});

test('selects rounds evenly, in turn through the phases', () => {
  assert.deepEqual(evenly([1, 2, 3, 4, 5, 6], 2), [2, 5]);
  assert.deepEqual(evenly([1, 2], 5), [1, 2]);
  const place = (phase: Place['phase'], nth: number): Place => ({ phase, name: 'journalled', nth });
  const turned = inTurn([place('load', 1), place('load', 2), place('revert', 1)]);
  assert.deepEqual(
    turned.map(({ phase, nth }) => `${phase}${nth}`),
    ['load1', 'revert1', 'load2'],
  );
});

test('reads an observation part by part, whatever is missing', () => {
  const text =
    '== before\nkmend_a 1 0\n== status\nnot JSON\n\n== after\n== effect\nfixed\n\n== journal\n{"schema":\n== remains\n';
  const seen = parseObservation(text);
  assert.deepEqual(seen.before, [{ name: 'kmend_a', enabled: true, transition: false }]);
  assert.deepEqual([seen.after, seen.claims, seen.said, seen.effect], [[], undefined, 'not JSON', 'fixed']);
  assert.ok(seen.journalProblem !== undefined);
  assert.equal(parseObservation('').journal, undefined);
});

test('gives every group rounds however few are requested, with distinct names', () => {
  // Which rounds there are is asked, none is run: nothing touches rig and life.
  const around = { rig: {}, life: {}, steps: SHORT_STEPS } as unknown as Around;
  for (const group of groups) {
    for (const count of [1, 2, 7, Number.POSITIVE_INFINITY]) {
      const ids = group.rounds({ ...around, count }).map(({ id }) => id);
      assert.ok(ids.length > 0 && ids.length <= count, `${group.name} ${count}: ${ids.length}`);
      assert.equal(new Set(ids).size, ids.length, group.name);
    }
  }
});

test('cuts the power at least a hundred times, over all that is journalled', () => {
  const power = groups.find(({ name }) => name === 'power');
  const count = Number.POSITIVE_INFINITY;
  // As above: no round is run.
  const around = { rig: {}, life: {}, steps: SHORT_STEPS, count } as unknown as Around;
  assert.ok((power?.rounds(around).length ?? 0) >= 100);
});
