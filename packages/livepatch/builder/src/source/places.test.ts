import assert from 'node:assert/strict';
import { test } from 'node:test';
import { declarationEnds } from './declarations.ts';
import { canChangeCode } from './follow.ts';
import { Places } from './places.ts';

const TEXT =
  'struct a { int x; }; struct ab { struct a b; }; int f(struct a *a) { return a->x; } extern int a_b; int last;';

/** Declarations that mention a word, searched for, and looked up in the index. */
function found(word: string): [searched: readonly number[], indexed: readonly number[]] {
  const places = new Places(TEXT, [...declarationEnds(TEXT)]);
  const searched = places.of(word);
  for (let other = 0; other < 100; other++) places.of(`other${other}`);
  return [searched, places.of(word)];
}

test('finds a word as a word, and once a declaration, by searching and by the index alike', () => {
  const expected: Readonly<Record<string, readonly number[]>> = {
    a: [0, 1, 2],
    ab: [1],
    x: [0, 2],
    a_b: [3],
    last: [4],
    las: [],
    int: [0, 2, 3, 4],
  };
  for (const [word, numbers] of Object.entries(expected)) assert.deepEqual(found(word), [numbers, numbers], word);
});

test('finds what differs wherever it lies between what is equal', () => {
  const part = 'static inline int i(void) { return 1; } int e(void) { return i(); } ';
  const other = part.replace('return 1', 'return 2');
  const idle = 'static inline int idle(void) { return 3; } ';
  for (const [before, after, changes] of [
    [part, other, true],
    [`int s; ${part}int t;`, `int s; ${other}int t;`, true],
    // The end of one declaration looks like that of its neighbour: f(void) { return 1; } twice.
    [`${idle}${idle.replace('idle', 'idle2')}int t;`, `${idle}int t;`, false],
    [`int t;`, `int t; ${idle}`, false],
    [`${idle}int t;`, 'int t;', false],
    ['int t; int u;', 'int u; int t;', false],
    ['int t; int u;', 'int t;', true],
    ['int t;', 'int t; int u;', true],
    ['int f(void) { if (1) { a(); } b(); }', 'int f(void) { if (1) { a(); b(); } }', true],
    ['', 'int t;', true],
    ['int t;', '', true],
  ] as const)
    assert.equal(canChangeCode(before.trim(), after.trim()), changes, `${before} -> ${after}`);
});
