import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LabError } from '../error.ts';
import { KernelWatch, since } from './kernel-watch.ts';

test('counts only kernel messages since the mark, and reports a lost mark', () => {
  const log = '[    1.0] old\n[    2.0] kmend-lab: 1 begin\n[    3.0] one\n[    4.0] kmend-lab: 11 load\n[    5.0] two';
  assert.equal(since(log, 'kmend-lab: 11 load'), '[    5.0] two');
  assert.equal(since(log, 'kmend-lab: 1 begin')?.split('\n').length, 3);
  assert.equal(since(log, 'kmend-lab: 1 load'), undefined);
});

test('reads the console of a kernel that does not answer any more', async () => {
  let answers = true;
  const said = [
    '[ 1.0] WARNING: of an earlier step',
    '[ 2.0] kmend-lab: 1 load',
    '[ 3.0] BUG: soft lockup',
    '[ 4.0] x',
  ];
  const watch = new KernelWatch({
    check: () => (answers ? Promise.resolve('') : Promise.reject(new LabError('lab-guest-gone', 'no answer'))),
    console: () => said.join('\n'),
  });
  await watch.mark('load');
  answers = false;
  assert.deepEqual(await watch.wrong(), ['[ 3.0] BUG: soft lockup']);
});
