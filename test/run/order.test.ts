import assert from 'node:assert/strict';
import { test } from 'node:test';
import { batches, longestFirst } from './order.ts';

test('puts the longest file first, and an end-to-end file without a figure before short ones', () => {
  const files = ['packages/a.test.ts', 'packages/b.test.ts', 'test/e2e/new.test.ts', 'test/e2e/old.test.ts'];
  const order = longestFirst(files, { 'test/e2e/old.test.ts': 300, 'packages/b.test.ts': 9 });
  assert.deepEqual(order, ['test/e2e/old.test.ts', 'test/e2e/new.test.ts', 'packages/b.test.ts', 'packages/a.test.ts']);
});

test('gives long files a process each and shares one between neighbouring short ones', () => {
  const files = [
    'p/f.test.ts',
    'p/e.test.ts',
    'p/a.test.ts',
    'p/b.test.ts',
    'p/c.test.ts',
    'p/d.test.ts',
    'test/e2e/x.test.ts',
  ];
  assert.deepEqual(batches(files, { 'p/b.test.ts': 9 }, { atMost: 3, alone: new Set(['p/f.test.ts']) }), [
    ['test/e2e/x.test.ts'],
    ['p/b.test.ts'],
    ['p/f.test.ts'],
    ['p/a.test.ts', 'p/c.test.ts'],
    ['p/d.test.ts', 'p/e.test.ts'],
  ]);
  assert.deepEqual(batches([], {}, { atMost: 3, alone: new Set() }), []);
});
