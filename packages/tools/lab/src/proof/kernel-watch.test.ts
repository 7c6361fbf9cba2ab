import assert from 'node:assert/strict';
import { test } from 'node:test';
import { since } from './kernel-watch.ts';

test('counts only kernel messages since the mark, and reports a lost mark', () => {
  const log = '[    1.0] old\n[    2.0] kmend-lab: 1 begin\n[    3.0] one\n[    4.0] kmend-lab: 11 load\n[    5.0] two';
  assert.equal(since(log, 'kmend-lab: 11 load'), '[    5.0] two');
  assert.equal(since(log, 'kmend-lab: 1 begin')?.split('\n').length, 3);
  assert.equal(since(log, 'kmend-lab: 1 load'), undefined);
});
