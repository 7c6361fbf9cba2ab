import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseFiles } from './build.ts';

const BUILT = ['net/core/sock.c', 'net/core/sock_diag.c', 'fs/exec.c', 'include/net/sock.h'];
const choose = (paths: string[], named = false): string[] =>
  chooseFiles(BUILT, { paths, named }, new Set(['fs/exec.c', 'not/built.c']));

test('limits an update to files and folders, and to files of CVEs', () => {
  assert.deepEqual(choose([]), BUILT);
  assert.deepEqual(choose(['net/core/sock.c']), ['net/core/sock.c']);
  assert.deepEqual(choose(['net/', 'include/net/sock.h']), [BUILT[0], BUILT[1], BUILT[3]]);
  assert.deepEqual(choose([], true), ['fs/exec.c']);
});

test('names a path that the update does not change, and says if nothing is left', () => {
  assert.throws(() => choose(['net/core', 'net/co']), { code: 'update-path', message: /net\/co / });
  assert.throws(() => choose(['net'], true), { code: 'update-nothing' });
});
