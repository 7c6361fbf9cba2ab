import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { kernelNotes } from '@kmend/rules/testing';
import { BUILD_ID } from '../testing/kernel.ts';
import { buildIdOfNotes } from './notes.ts';

test('finds the build id behind notes of other owners', () => {
  assert.equal(buildIdOfNotes(kernelNotes(BUILD_ID)), BUILD_ID);
});

test('reads no build id from truncated, empty or other notes', () => {
  const whole = kernelNotes(BUILD_ID);
  for (let length = 0; length < whole.length; length += 1) {
    assert.equal(buildIdOfNotes(whole.subarray(0, length)), undefined, `${length} bytes`);
  }
  assert.equal(buildIdOfNotes(Buffer.alloc(64, 0xff)), undefined);
});

test('finds a build id of this machine’s own kernel', { skip: !existsSync('/sys/kernel/notes') }, () => {
  assert.match(buildIdOfNotes(readFileSync('/sys/kernel/notes')) ?? '', /^[0-9a-f]{40}$/);
});
