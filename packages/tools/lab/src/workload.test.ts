import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReport, RECORD, record, StreamCheck } from './workload.ts';

const stream = Buffer.concat(Array.from({ length: 20 }, (_, number) => record(number)));

function check(bytes: Buffer, piece: number): { intact: number; damaged: number } {
  const result = new StreamCheck();
  for (let at = 0; at < bytes.length; at += piece) result.add(bytes.subarray(at, at + piece));
  return { intact: result.intact, damaged: result.damaged };
}

test('accepts an intact stream in any pieces', () => {
  for (const piece of [1, 7, RECORD, 1000, stream.length]) {
    assert.deepEqual(check(stream, piece), { intact: 20, damaged: 0 });
  }
});

test('reports all after one lost byte as damaged', () => {
  const lost = Buffer.concat([stream.subarray(0, 5 * RECORD + 3), stream.subarray(5 * RECORD + 4)]);
  assert.deepEqual(check(lost, 100), { intact: 5, damaged: 14 });
});

test('reports swapped records, a lost record and a changed byte as damage', () => {
  const swapped = Buffer.from(stream);
  record(4).copy(swapped, 3 * RECORD);
  record(3).copy(swapped, 4 * RECORD);
  assert.deepEqual(check(swapped, 64), { intact: 18, damaged: 2 });
  const missing = Buffer.concat([stream.subarray(0, 3 * RECORD), stream.subarray(4 * RECORD)]);
  assert.deepEqual(check(missing, 64), { intact: 3, damaged: 16 });
  const changed = Buffer.from(stream);
  changed[10 * RECORD + 40] = 0;
  assert.deepEqual(check(changed, 64), { intact: 19, damaged: 1 });
});

test('reads only a valid report', () => {
  const text = '{"sent":3,"echoed":3,"damaged":0,"longestGapMs":8.5,"seconds":1.25,"error":""}\n';
  assert.equal(parseReport(text)?.sent, 3);
  assert.equal(parseReport(''), undefined);
  assert.equal(parseReport('{"sent":-1}'), undefined);
});
