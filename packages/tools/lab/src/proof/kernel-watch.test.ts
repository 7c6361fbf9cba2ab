import assert from 'node:assert/strict';
import { test } from 'node:test';
import { since } from './kernel-watch.ts';

test('only what the kernel said since the mark counts, and a lost mark is told', () => {
  const log = '[    1.0] old\n[    2.0] kmend-lab: 1 begin\n[    3.0] one\n[    4.0] kmend-lab: 11 load\n[    5.0] two';
  assert.equal(since(log, 'kmend-lab: 11 load'), '[    5.0] two');
  assert.equal(since(log, 'kmend-lab: 1 begin')?.split('\n').length, 3);
  assert.equal(since(log, 'kmend-lab: 1 load'), undefined);
});
