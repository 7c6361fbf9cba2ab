import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExercise } from './exercise.ts';

const area = (more: object) => ({ rounds: 2, operations: 10, failures: 0, status: 0, first: '', absent: '', ...more });
const reportOf = (areas: Record<string, object>): string => JSON.stringify(areas);

test('sums operations, and names what the kernel lacks', () => {
  const areas = {
    ipv4: area({}),
    hash: area({ operations: 0, absent: 'sha256' }),
    route: area({ absent: 'sit,vti6' }),
  };
  assert.deepEqual(parseExercise(reportOf(areas)), {
    operations: 20,
    areas: { ipv4: 10, hash: 0, route: 10 },
    skipped: ['hash: sha256', 'route: sit', 'route: vti6'],
    failures: [],
  });
});

test('counts a failure, a death, a standstill and unexplained idleness as failures', () => {
  const found = parseExercise(
    reportOf({
      keys: area({ failures: 2, first: 'line 3: key > 0' }),
      sysv: area({ status: 139 }),
      disk: area({ rounds: 0, operations: 0 }),
      bpf: area({ operations: 0 }),
    }),
  );
  assert.deepEqual(found?.failures, [
    'keys: 2 failures, first line 3: key > 0',
    'sysv: ended with status 139',
    'disk: did not get round once',
    'bpf: did nothing',
  ]);
});

test('rejects a file that is no report', () => {
  for (const text of ['', '{', '[]', '{"keys":{"rounds":1}}']) assert.equal(parseExercise(text), undefined, text);
});
