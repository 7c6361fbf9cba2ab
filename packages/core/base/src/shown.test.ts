import assert from 'node:assert/strict';
import { test } from 'node:test';
import { escapedJson, shownJson, shownLine, shownLines, shownText } from './shown.ts';

/** One of each kind that a terminal obeys: C0, DEL, C1, bidirectional, invisible, line separators, tags. */
const UNFIT = [
  ...['\0', '\x07', '\x08', '\r', '\x1b[2J', '\x1b]0;x\x07', '\x7f', '\x85', '\x90', '\x9b31m', '\x9d'],
  ...['\u061c', '\u200b', '\u200e', '\u200f', '\u202a', '\u202e', '\u2028', '\u2029', '\u2066', '\u2069', '\ufeff'],
  ...['\u00ad', '\u2060', '\u{e0041}'],
];

test('removes terminal control characters from a text and keeps its lines', () => {
  for (const evil of UNFIT) {
    const text = shownText(`one${evil}\n\ttwo`);
    assert.match(text, /^one\u{fffd}.*\n\ttwo$/u, JSON.stringify(evil));
    assert.doesNotMatch(text.replaceAll(/[\n\t]/g, ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, JSON.stringify(evil));
  }
  assert.equal(shownText('grün, 東京, עברית, 🙂\n'), 'grün, 東京, עברית, 🙂\n');
});

test('keeps a line one line', () => {
  assert.equal(shownLine('a\nserver: ok\r\nb\tc'), 'a\u{fffd}server: ok\u{fffd}\u{fffd}b\u{fffd}c');
  assert.equal(shownLines(['one', 'two\nthree']), 'one\ntwo\u{fffd}three');
});

test('escapes terminal control characters in JSON without losing them', () => {
  for (const evil of UNFIT) {
    const value = { evil, nested: [`${evil}x`] };
    const json = shownJson(value);
    assert.deepEqual(JSON.parse(json), value);
    assert.doesNotMatch(json.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, JSON.stringify(evil));
  }
  assert.equal(escapedJson('{"a":"\u202e"}\n'), '{"a":"\\u202e"}\n');
});
