import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOfText, onlyLine } from './texts.ts';

test('finds the end of a text among other constants', () => {
  const memory = Buffer.from('\x07\0\x01\x34message %s\n\0\0\xff\x02\0', 'latin1');
  assert.equal(endOfText(memory, 2), memory.indexOf('\n') + 2);
  for (const offset of [0, 1, memory.indexOf('\n') + 1, memory.length - 2, memory.length])
    assert.equal(endOfText(memory, offset), undefined, `${offset}`);
  assert.equal(endOfText(Buffer.from('without an end'), 0), undefined);
});

test('leaves texts undecided that differ in the line at their end alone', () => {
  const text = 'field "dst" at net/ipv6/seg6_local.c:437';
  assert.equal(onlyLine(text, text.replace('437', '393')), undefined);
  for (const other of [
    'field "src" at net/ipv6/seg6_local.c:437',
    text.replace('local', 'other'),
    'x:437',
    '',
    undefined,
  ])
    assert.equal(onlyLine(text, other), false, `${other}`);
  assert.equal(onlyLine('other text', 'text'), false);
});
