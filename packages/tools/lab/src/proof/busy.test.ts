import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeLoad } from './busy.ts';
import { ProofFailure } from './failure.ts';

test('counts a load only if every part ran until the end', () => {
  assert.deepEqual(judgeLoad(['write', 'read'], 'turns read 3\nturns write 12\n'), { write: 12, read: 3 });
});

test('reports a part that failed or stood still', () => {
  for (const [printed, words] of [
    ['ended write\nturns read 3\nturns write 12\n', /failed: write/],
    ['turns read 3\nturns write 0\n', /stood still: write/],
    ['turns read 3\n', /stood still: write/],
  ] as const) {
    assert.throws(
      () => judgeLoad(['write', 'read'], printed),
      (error) => error instanceof ProofFailure && words.test(error.message),
    );
  }
});
