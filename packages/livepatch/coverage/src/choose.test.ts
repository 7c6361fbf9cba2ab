import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseFiles } from './choose.ts';

const CHANGED = ['fs/a.c', 'fs/a.h', 'fsx/b.c', 'drivers/net/c.c', 'drivers/net/d.c', 'drivers/md/e.c', 'Makefile'];

test('chooses the C files of the folders, and none of a folder whose name only begins alike', () => {
  assert.deepEqual(chooseFiles(CHANGED, { folders: ['fs'], only: /./ }), ['fs/a.c']);
  assert.deepEqual(chooseFiles(CHANGED, { folders: ['fs', 'drivers/net'], only: /[ad]\.c$/ }), [
    'fs/a.c',
    'drivers/net/d.c',
  ]);
});

test('takes the same sample outside the core for the same seed', () => {
  const sampled = (seed: string): string[] =>
    chooseFiles(CHANGED, { folders: ['fs', 'drivers'], only: /./, sample: { count: 2, seed } });
  assert.deepEqual(sampled('1'), sampled('1'));
  assert.equal(sampled('1').length, 2);
  assert.ok(!sampled('1').includes('fs/a.c'));
  const all = new Set(['1', '2', '3', '4', '5', '6'].map((seed) => sampled(seed).join(' ')));
  assert.ok(all.size > 1);
});

test('takes a sample of the core where only folders of the core are named', () => {
  const sample = { count: 2, seed: '1' };
  assert.deepEqual(chooseFiles(CHANGED, { folders: ['fs'], only: /./, sample }), ['fs/a.c']);
});
