import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WordIndex } from './word-index.ts';

const FILES: Readonly<Record<string, string>> = {
  'a.h': 'struct sock;\n#define first(x) second(x)',
  'b.c': '/* caf\xe9 */ int sock_2 = 0x1f;\r\nlast',
  'c.c': '',
  'd.h': `${Array.from({ length: 100_000 }, (_, n) => `mmREG_${n}`).join(' ')} sock`,
};
const made = await WordIndex.of(Object.keys(FILES), async (path) => Buffer.from(FILES[path] ?? '', 'latin1'));

test('finds the files that have a whole word, at the beginning, at the end and between other bytes', () => {
  assert.deepEqual(made.filesWith(['sock']), ['a.h', 'd.h']);
  assert.deepEqual(made.filesWith(['struct']), ['a.h']);
  assert.deepEqual(made.filesWith(['last']), ['b.c']);
  assert.deepEqual(made.filesWith(['caf']), ['b.c']);
  assert.deepEqual(made.filesWith(['0x1f', 'second']), ['a.h', 'b.c']);
  assert.deepEqual(made.filesWith(['soc', 'ock', 'sock_', 'mmREG_100000', '']), []);
});

test('finds each of a hundred thousand words of one file, and nearly none that are not there', () => {
  for (let n = 0; n < 100_000; n++) assert.deepEqual(made.filesWith([`mmREG_${n}`]), ['d.h']);
  const wrong = Array.from({ length: 10_000 }, (_, n) => `other_${n}`).filter(
    (word) => made.filesWith([word]).length > 0,
  );
  assert.ok(wrong.length < 10, `${wrong.length} of 10000`);
});

test('reads back what it wrote, and nothing that was cut off', () => {
  const bytes = made.bytes;
  assert.deepEqual(WordIndex.parse(bytes)?.filesWith(['sock', 'last']), ['a.h', 'b.c', 'd.h']);
  for (const part of [bytes.subarray(0, bytes.length - 4), bytes.subarray(0, 10), Buffer.alloc(0), Buffer.from('{}\n')])
    assert.equal(WordIndex.parse(part), undefined);
});
