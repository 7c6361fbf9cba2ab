import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestFirst } from './order.ts';

test('puts the longest file first, and an end-to-end file without a figure before short ones', () => {
  const files = [
    'packages/a/src/b.test.ts',
    'packages/a/src/a.test.ts',
    'test/e2e/new.test.ts',
    'test/e2e/old.test.ts',
  ];
  const seconds = { 'test/e2e/old.test.ts': 500, 'packages/a/src/b.test.ts': 0.5, 'gone.test.ts': 900 };
  assert.deepEqual(longestFirst(files, seconds), [
    'test/e2e/old.test.ts',
    'test/e2e/new.test.ts',
    'packages/a/src/a.test.ts',
    'packages/a/src/b.test.ts',
  ]);
});
