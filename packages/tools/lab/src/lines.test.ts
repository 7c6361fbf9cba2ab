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

test('returns whole lines from any cut', () => {
  assert.deepEqual(read(['{"a":', '1}\r\n{"b"', ':2}\n\n{']), ['{"a":1}', '{"b":2}']);
  const text = Buffer.from('"grün"\n');
  assert.deepEqual(read([...text].map((byte) => Buffer.from([byte]))), ['"grün"']);
});

test('drops the rest of an older answer at a delimiter byte', () => {
  const delimiter = Buffer.from([0xff]);
  assert.deepEqual(read(['{"half an ans', delimiter, '{"return":7}\n']), ['{"return":7}']);
  assert.deepEqual(read([Buffer.concat([Buffer.from('rest'), delimiter, Buffer.from('{}\nnext\n')])]), ['{}', 'next']);
});

test('drops a line over the limit, and reads the next one', () => {
  assert.deepEqual(read(['x'.repeat(50), 'y'.repeat(60), '\nfine\n'], 100), ['fine']);
});

test('takes no garbage for an answer', () => {
  const schema = z.object({ id: z.number() });
  assert.deepEqual(parseLine('{"id":1}', schema), { id: 1 });
  assert.equal(parseLine('{"id":"1"}', schema), undefined);
  assert.equal(parseLine('{"id":', schema), undefined);
});
