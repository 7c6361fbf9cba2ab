import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diskFault } from './disk-fault.ts';
import { KmendError } from './error.ts';

function failed(code: string): Error {
  return Object.assign(new Error(`${code}: something, write`), { code });
}

test('maps each disk failure to its code, however deeply it is nested', () => {
  assert.equal(diskFault(failed('ENOSPC'))?.code, 'disk-full');
  assert.equal(diskFault(failed('EDQUOT'))?.code, 'disk-full');
  assert.equal(diskFault(failed('EROFS'))?.code, 'disk-read-only');
  assert.equal(diskFault(new Error('cannot check', { cause: failed('EIO') }))?.code, 'disk-failing');
  // tuf-js keeps the text of a cause alone.
  assert.equal(diskFault(new Error('Unable to persist: Error: EROFS: read-only file system'))?.code, 'disk-read-only');
});

test('maps SQLite’s disk errors, extended codes included', () => {
  const sqlite = (errcode: number): Error =>
    Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', errcode });
  assert.equal(diskFault(sqlite(13))?.code, 'disk-full');
  assert.equal(diskFault(sqlite(8 | (1 << 8)))?.code, 'disk-read-only');
  assert.equal(diskFault(sqlite(10 | (3 << 8)))?.code, 'disk-failing');
  assert.equal(diskFault(sqlite(5)), undefined, 'busy');
});

test('recognises an error that already has a disk code', () => {
  assert.equal(diskFault(new KmendError('disk-failing', 'no'))?.code, 'disk-failing');
});

test('leaves every other error alone', () => {
  assert.equal(diskFault(failed('EACCES')), undefined);
  assert.equal(diskFault(new Error('AVEIOU')), undefined);
  assert.equal(diskFault('ENOSPC'), undefined);
  const ring = new Error('ring');
  ring.cause = ring;
  assert.equal(diskFault(ring), undefined);
});
