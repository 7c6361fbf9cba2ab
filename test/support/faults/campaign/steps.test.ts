import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layout } from '../layout.ts';
import { parseObservation } from './observe.ts';
import { evenly, inTurn, type Place, stepsOf } from './steps.ts';

const step = (op: string, path: string) => ({ n: 1, role: layout.steps.journalled.role, op, path });

test('what cannot be taken back is told apart from the rest', () => {
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

test('rounds are taken evenly, and in turn through the phases', () => {
  assert.deepEqual(evenly([1, 2, 3, 4, 5, 6], 2), [2, 5]);
  assert.deepEqual(evenly([1, 2], 5), [1, 2]);
  const place = (phase: Place['phase'], nth: number): Place => ({ phase, name: 'journalled', nth });
  const turned = inTurn([place('load', 1), place('load', 2), place('revert', 1)]);
  assert.deepEqual(
    turned.map(({ phase, nth }) => `${phase}${nth}`),
    ['load1', 'revert1', 'load2'],
  );
});

test('an observation is read part by part, whatever is missing', () => {
  const text =
    '== before\nkmend_a 1 0\n== status\nnot JSON\n\n== after\n== effect\nfixed\n\n== journal\n{"schema":\n== remains\n';
  const seen = parseObservation(text);
  assert.deepEqual(seen.before, [{ name: 'kmend_a', enabled: true, transition: false }]);
  assert.deepEqual([seen.after, seen.claims, seen.said, seen.effect], [[], undefined, 'not JSON', 'fixed']);
  assert.ok(seen.journalProblem !== undefined);
  assert.equal(parseObservation('').journal, undefined);
});
