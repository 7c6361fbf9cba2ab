import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExercise } from './exercise.ts';

const area = (more: object) => ({ rounds: 2, operations: 10, failures: 0, status: 0, first: '', ...more });
const reportOf = (areas: Record<string, object>): string => JSON.stringify(areas);

test('operations are summed, what a kernel does not have is named', () => {
  const found = parseExercise(reportOf({ ipv4: area({}), af_alg: area({ operations: 0 }) }));
  assert.deepEqual(found, { operations: 10, areas: { ipv4: 10, af_alg: 0 }, skipped: ['af_alg'], failures: [] });
});

test('a failure, a death and a standstill are failures', () => {
  const found = parseExercise(
    reportOf({
      keys: area({ failures: 2, first: 'line 3: key > 0' }),
      sysv: area({ status: 139 }),
      disk: area({ rounds: 0, operations: 0 }),
    }),
  );
  assert.deepEqual(found?.failures, [
    'keys: 2 failures, first line 3: key > 0',
    'sysv: ended with status 139',
    'disk: did not get round once',
  ]);
});

test('what is no report', () => {
  for (const text of ['', '{', '[]', '{"keys":{"rounds":1}}']) assert.equal(parseExercise(text), undefined, text);
});
