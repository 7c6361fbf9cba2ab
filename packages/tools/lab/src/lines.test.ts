import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { createLineReader, parseLine } from './lines.ts';

function read(chunks: readonly (string | Buffer)[], limit?: number): string[] {
  const lines: string[] = [];
  const reader = createLineReader((line) => lines.push(line), limit);
  for (const chunk of chunks) reader(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  return lines;
}

test('lines come out whole from any cut', () => {
  assert.deepEqual(read(['{"a":', '1}\r\n{"b"', ':2}\n\n{']), ['{"a":1}', '{"b":2}']);
  const text = Buffer.from('"grün"\n');
  assert.deepEqual(read([...text].map((byte) => Buffer.from([byte]))), ['"grün"']);
});

test('a delimiter byte drops the rest of an older answer', () => {
  const delimiter = Buffer.from([0xff]);
  assert.deepEqual(read(['{"half an ans', delimiter, '{"return":7}\n']), ['{"return":7}']);
  assert.deepEqual(read([Buffer.concat([Buffer.from('rest'), delimiter, Buffer.from('{}\nnext\n')])]), ['{}', 'next']);
});

test('a line over the limit is dropped, the next one is read', () => {
  assert.deepEqual(read(['x'.repeat(50), 'y'.repeat(60), '\nfine\n'], 100), ['fine']);
});

test('garbage is not an answer', () => {
  const schema = z.object({ id: z.number() });
  assert.deepEqual(parseLine('{"id":1}', schema), { id: 1 });
  assert.equal(parseLine('{"id":"1"}', schema), undefined);
  assert.equal(parseLine('{"id":', schema), undefined);
});
