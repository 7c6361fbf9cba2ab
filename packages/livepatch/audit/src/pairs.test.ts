import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pairsOf } from './pairs.ts';

test('pairs what two sequences have in common, in order', () => {
  const pair = (a: string, b: string): number[] => [...(pairsOf([...a], [...b]) ?? [])];
  assert.deepEqual(pair('abc', 'abc'), [0, 1, 2]);
  assert.deepEqual(pair('abcd', 'axbd'), [0, 2, -1, 3]);
  assert.deepEqual(pair('', 'ab'), []);
  assert.deepEqual(pair('ab', ''), [-1, -1]);
  assert.deepEqual(pair('xaby', 'ab'), [-1, 0, 1, -1]);
  assert.deepEqual(pair('abcabba', 'cbabac').filter((one) => one >= 0).length, 4);
});

test('gives up on sequences that have nothing in common', () => {
  const many = (name: string): string[] => Array.from({ length: 1000 }, (_, index) => `${name}${index}`);
  assert.equal(pairsOf(many('a'), many('b')), undefined);
});
