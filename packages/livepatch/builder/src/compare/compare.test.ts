import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectOf } from '../testing/gcc.ts';
import { type Change, compareUnit } from './compare.ts';

const unit = { source: 'a/unit.c', object: 'vmlinux' };

async function compare(before: string, after: string): Promise<Change> {
  const options = { flags: ['-g'] };
  return compareUnit(unit, await objectOf(before, options), await objectOf(after, options));
}

const names = (atoms: Iterable<{ readonly key: string }>): string[] => [...atoms].map(({ key }) => key).sort();
const codes = (change: Change): string[] => change.reasons.map(({ code }) => code).sort();

const BASE = `
int printk(const char *, ...); void *lookup(int);
static int state = 4; int shared; static const int table[] = { 1, 2, 3 };
static __attribute__((noinline)) int helper(int a) { static int calls; calls++; return a * table[a & 1] + state; }
int first(int a) { if (a > 3) printk("too large: %d", a); return helper(a); }
int second(int a) { shared += a; state++; return helper(a + 1); }
`;

test('finds no change between a unit and itself', async () => {
  const change = await compare(BASE, BASE);
  assert.deepEqual([change.changed.size, change.added.size, change.reasons], [0, 0, []]);
});

test('reports a changed function, but not its callers', async () => {
  const change = await compare(BASE, BASE.replace('a * table', '1 + a * table'));
  assert.deepEqual(names(change.changed.keys()), ['helper']);
  assert.deepEqual(codes(change), []);
});

test('compares a string by its content, not by its place among others', async () => {
  const moved = BASE.replace('int first', 'int zero(int a) { printk("another text"); return a; } int first');
  const change = await compare(BASE, moved);
  assert.deepEqual([names(change.changed.keys()), names(change.added)], [[], ['zero']]);
  const other = await compare(BASE, BASE.replace('too large', 'too great'));
  assert.deepEqual(names(other.changed.keys()), ['first']);
});

test('reports the callers of a changed static function that was inlined', async () => {
  const inlined = BASE.replace('__attribute__((noinline))', 'inline __attribute__((always_inline))');
  const change = await compare(inlined, inlined.replace('a * table', '1 + a * table'));
  assert.deepEqual(names(change.changed.keys()), ['first', 'second']);
});

test('refuses changed initial values of live data', async () => {
  assert.deepEqual(codes(await compare(BASE, BASE.replace('state = 4', 'state = 5'))), ['data-changed']);
});

test('includes a changed private constant with the functions that use it', async () => {
  const change = await compare(BASE, BASE.replace('{ 1, 2, 3 }', '{ 1, 2, 4 }'));
  assert.deepEqual([names(change.changed.keys()), names(change.added), codes(change)], [['helper'], ['table'], []]);
  assert.ok(![...change.same.keys()].some(({ key }) => key === 'table'), 'the new code must not use the old constant');
});

test('includes an untraced private function with its callers, and refuses it if its address is stored', async () => {
  const hidden = BASE.replace(
    'static __attribute__((noinline))',
    'static __attribute__((noinline, no_instrument_function))',
  );
  const change = await compare(hidden, hidden.replace('a * table', '1 + a * table'));
  assert.deepEqual(
    [names(change.changed.keys()), names(change.added), codes(change)],
    [['first', 'second'], ['helper'], []],
  );
  const kept = `${hidden} int (*keep)(int) = helper;`;
  assert.deepEqual(codes(await compare(kept, kept.replace('a * table', '1 + a * table'))), ['not-traceable']);
});

test("keeps the kernel's constant where other objects can store its address", async () => {
  const global = BASE.replace('static const int table', 'const int table');
  assert.deepEqual(codes(await compare(global, global.replace('{ 1, 2, 3 }', '{ 1, 2, 4 }'))), ['constant-changed']);
  const kept = `${BASE} const int *keep[] = { table };`;
  assert.deepEqual(codes(await compare(kept, kept.replace('{ 1, 2, 3 }', '{ 1, 2, 4 }'))), ['constant-changed']);
  const operations = `${BASE} struct ops { int (*f)(int); int flags; }; static const struct ops ops = { first, 1 }; const struct ops *get(void) { return &ops; }`;
  assert.deepEqual(codes(await compare(operations, operations.replace('{ first, 1 }', '{ first, 2 }'))), [
    'constant-changed',
  ]);
});

test('reports new static and global functions and variables as additions', async () => {
  const after = BASE.replace(
    'int second(int a) {',
    'static int fresh; static __attribute__((noinline)) int check(int a) { return a > fresh++; } int second(int a) { if (check(a)) return 0;',
  );
  const change = await compare(BASE, after);
  assert.deepEqual(
    [names(change.changed.keys()), names(change.added), codes(change)],
    [['second'], ['check', 'fresh'], []],
  );
});

test('ignores what the fix removes, and refuses dropped state', async () => {
  assert.deepEqual(codes(await compare(BASE, BASE.replace(/int second.*\n/, ''))), []);
  const change = await compare(BASE, BASE.replace('static int calls; calls++;', ''));
  assert.deepEqual([names(change.changed.keys()), codes(change)], [['helper'], ['static-local-removed']]);
});

test('distinguishes static variables of one name by the functions that use them', async () => {
  const two = BASE.replace('int second(int a) {', 'int second(int a) { static int calls; a += calls++;');
  const added = await compare(BASE, two.replace('calls++; return a *', 'calls++; return 2 * a *'));
  assert.deepEqual([names(added.changed.keys()), codes(added)], [['helper', 'second'], ['static-local-added']]);
  // One comes in front of the others, so that the compiler numbers all anew: nothing but its function changes.
  const first = two.replace('int first(int a) {', 'int first(int a) { static int calls; calls += a;');
  const shifted = await compare(two, first);
  assert.deepEqual([names(shifted.changed.keys()), codes(shifted)], [['first'], ['static-local-added']]);
  const pairs = [...shifted.same].filter(([atom]) => atom.key.startsWith('calls'));
  assert.equal(pairs.length, 2);
});

test('reports as uncertain a new one among several static variables of one name in one function', async () => {
  const before = BASE.replace(
    'int second(int a) {',
    'int second(int a) { { static int n; a += n++; } { static int n; a -= n++; }',
  );
  const after = before.replace(
    '{ static int n; a += n++; }',
    '{ static int n; a += n++; } { static int n; a ^= n++; }',
  );
  assert.deepEqual([...new Set(codes(await compare(before, after)))], ['static-local-ambiguous']);
});

test('refuses code that runs once, is not traced, or is in a special section', async () => {
  const place = (attribute: string): string => BASE.replace('int second', `${attribute} int second`);
  const changed = (attribute: string): Promise<Change> =>
    compare(place(attribute), place(attribute).replace('shared += a', 'shared -= a'));
  assert.deepEqual(codes(await changed('__attribute__((section(".init.text")))')), ['init-changed']);
  assert.deepEqual(codes(await changed('__attribute__((section(".noinstr.text")))')), ['section-unpatchable']);
  assert.deepEqual(codes(await changed('__attribute__((no_instrument_function))')), ['not-traceable']);
});

test('reports the parent of a changed cold part', async () => {
  const cold = BASE.replace(
    'int second',
    '__attribute__((cold)) void bad(int); int third(int a) { if (a < 0) { bad(a); bad(2); shared = 9; } return a; } int second',
  );
  const change = await compare(cold, cold.replace('bad(2)', 'bad(3)'));
  assert.deepEqual([names(change.changed.keys()), codes(change)], [['third'], []]);
});
