import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOfLog } from './log.ts';

test('takes only lines since the moment, without their time stamps', () => {
  const log = '[    1.000000] old\n[   12.345678] livepatch: failed\nno time stamp\n[   13.000000] x86: y\n';
  assert.deepEqual(linesOfLog(log, 12.3), ['livepatch: failed', 'x86: y']);
});
