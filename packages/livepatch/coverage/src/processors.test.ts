import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placesText } from './processors.ts';

test('shows how often each place was sampled', () => {
  assert.equal(placesText([['a', 'b', 'b'], ['c']]), 'processor 0: b 2, a 1\nprocessor 1: c 1');
});
