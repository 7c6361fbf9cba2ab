import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FixId } from '@kmend/protocol';
import { fixIdOf } from './fix-id.ts';

test('names a fix by its first file', () => {
  assert.equal(fixIdOf(['net/core/sock.c', 'include/net/sock.h']), 'net.core.sock.c');
});

test('keeps ids short, valid and different', () => {
  const deep = `drivers/${'a/'.repeat(40)}`;
  const ids = [
    fixIdOf([`${deep}x.c`]),
    fixIdOf([`${deep}b/x.c`]),
    fixIdOf(['.x/y~1.c']),
    fixIdOf([`${'d/'.repeat(32)}e.c`]),
  ];
  for (const id of ids) assert.ok(FixId.safeParse(id).success, id);
  assert.equal(new Set(ids).size, ids.length);
});
