import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patternOf, toEre } from './pattern.ts';

test('writes a pattern without what mawk does not support', () => {
  assert.equal(toEre('^\\d{3}\\w+$'), '^[0-9][0-9][0-9][A-Za-z0-9_]+$');
  assert.equal(toEre('[0-9a-f]{2,}:x{1,3}'), '[0-9a-f][0-9a-f][0-9a-f]*:xx?x?');
  assert.equal(toEre('(?:ab){2}|c{0,}'), '(ab)(ab)|c*');
  assert.equal(toEre('^[^[\\]]+: \\[#\\d+\\]'), '^[^][]+: \\[#[0-9]+\\]');
  assert.equal(toEre('[\\w\\-]+/x'), '[A-Za-z0-9_-]+\\/x');
});

test('refuses what awk would read differently', () => {
  for (const source of ['\\bx', '(?=x)', '(?<name>x)', 'x{65}', 'x{', '[\\s]', '(x', '[x', '\\', '\\u0041', 'x}'])
    assert.throws(() => toEre(source), /awk/, source);
});

test('matches with a dot what awk matches', () => {
  assert.ok(patternOf('^a.b$').test('a\u2028b'));
});
