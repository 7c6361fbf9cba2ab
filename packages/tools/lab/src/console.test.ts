import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsoleLog, panicIn } from './console.ts';

test('passes on whole lines, however they arrive', () => {
  const log = new ConsoleLog();
  const lines: string[] = [];
  const stop = log.onLine((line) => lines.push(line));
  log.append('one\r\ntw');
  log.append('o\r');
  assert.deepEqual(lines, ['one']);
  log.append('\nthree');
  assert.deepEqual(lines, ['one', 'two']);
  stop();
  log.append('\n');
  assert.deepEqual(lines, ['one', 'two']);
  assert.equal(log.text(), 'one\ntwo\nthree\n');
  assert.equal(log.tail(2), 'two\nthree');
});

test('keeps only the end of a long console', () => {
  const log = new ConsoleLog(8);
  log.append('0123456789');
  assert.equal(log.text(), '23456789');
});

test('recognises a kernel panic with its reason', () => {
  assert.equal(panicIn('[   36.2] Kernel panic - not syncing: sysrq triggered crash'), 'sysrq triggered crash');
  assert.equal(panicIn('[   36.2] sysrq: Trigger a crash'), undefined);
});
