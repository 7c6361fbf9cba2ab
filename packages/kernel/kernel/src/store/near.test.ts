import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from './near.ts';

test('suggests at most four names, the most similar first, and no distant one', () => {
  const known = [
    '6.1.0-47-amd64',
    '6.1.0-48-amd64',
    '6.1.0-50-amd64',
    '6.1.0-47-rt-amd64',
    '6.1.0-53-amd64',
    'vmlinux',
  ];
  assert.deepEqual(nearest('6.1.0-49-amd64', known), [
    '6.1.0-47-amd64',
    '6.1.0-48-amd64',
    '6.1.0-50-amd64',
    '6.1.0-53-amd64',
  ]);
  assert.deepEqual(nearest('6.1.0-47-amd64', ['6.1.0-47-amd64']), ['6.1.0-47-amd64']);
  assert.deepEqual(nearest('something else entirely', known), []);
  assert.deepEqual(nearest('', []), []);
});
