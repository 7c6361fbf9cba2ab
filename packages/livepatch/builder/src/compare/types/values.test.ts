import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDwarf } from '../../dwarf/index.ts';
import { elfOf } from '../../testing/gcc.ts';
import type { Reason } from '../../types.ts';
import { compareTypes } from '../types.ts';

const SOURCE = 'net/unit.c';

async function compare(before: string, after: string, changed: string[], headers: string[] = []): Promise<Reason[]> {
  const [original, patched] = [readDwarf(await elfOf(before, ['-g'])), readDwarf(await elfOf(after, ['-g']))];
  assert.ok(original !== undefined && patched !== undefined);
  return compareTypes(SOURCE, original, patched, { changed, added: [], headers });
}

const verdicts = (reasons: readonly Reason[]): string[][] =>
  reasons.map(({ code, verdict, symbol }) => [code, verdict, symbol ?? '']).sort();
const message = ([reason]: readonly Reason[]): string => reason?.message ?? '';

/** An enumeration of a header (or of the unit itself), and code that uses it as a variable's type. */
function enumeration(constants: string, where: 'header' | 'own', more = '', tag = 'enum state'): string {
  const text = `${tag} { ${constants} };`;
  const [header, own] = where === 'header' ? [text, ''] : ['', text];
  return `#line 1 "include/unit.h"\n${header}\n#line 1 "${SOURCE}"\n${own}\n${more}\nvoid go(int); ${USE}\n`;
}
const USE = 'int use(int a) { enum state s = a; if (s == READY) go(1); return s; }';

const states = (before: string, after: string, where: 'header' | 'own', more = ''): Promise<Reason[]> =>
  compare(enumeration(before, where, more), enumeration(after, where, more), ['use']);

test('accepts an added constant that changes no other', async () => {
  assert.deepEqual(await states('IDLE, READY', 'IDLE, READY, DONE', 'header'), []);
  assert.deepEqual(await states('IDLE, READY = 5', 'IDLE, HALF, READY = 5', 'header'), []);
});

test('refuses a constant with another value if other units or live objects know the enumeration', async () => {
  const shared = await states('IDLE, READY', 'IDLE, HALF, READY', 'header');
  assert.deepEqual(verdicts(shared), [['enum-value-changed', 'refused', 'enum state']]);
  assert.match(message(shared), /the values of enum state change: READY 1 -> 2; .* touched by use \(s: enum state\)/);
  const kept = await states('IDLE, READY', 'IDLE, HALF, READY', 'own', 'struct job { enum state state; } job;');
  assert.deepEqual(verdicts(kept), [['enum-value-changed', 'refused', 'enum state']]);
  const own = await states('IDLE, READY', 'IDLE, HALF, READY', 'own');
  assert.deepEqual(verdicts(own), [['enum-value-changed', 'needs-review', 'enum state']]);
});

test('asks for a review if only the name for the end of the list moves', async () => {
  const bound = await states('IDLE, READY, STATE_MAX', 'IDLE, READY, DONE, STATE_MAX', 'header');
  assert.deepEqual(verdicts(bound), [['enum-value-changed', 'needs-review', 'enum state']]);
  assert.match(message(bound), /STATE_MAX 2 -> 3/);
  const more = await states('IDLE, READY, STATE_MAX', 'IDLE, DONE, READY, STATE_MAX', 'header');
  assert.deepEqual(verdicts(more), [['enum-value-changed', 'refused', 'enum state']]);
  // It is called so, and does not end the list.
  const middle = await states('IDLE, READY, SIZE_BAD, GOOD = 9', 'IDLE, READY, SIZE_BAD = 4, GOOD = 9', 'header');
  assert.deepEqual(verdicts(middle), [['enum-value-changed', 'refused', 'enum state']]);
});

test('reports a removed constant, not a renamed one', async () => {
  const removed = await states('IDLE, READY, GONE', 'IDLE, READY', 'own');
  assert.match(message(removed), /GONE \(2\) removed/);
  assert.deepEqual(await states('IDLE, READY, OLD', 'IDLE, READY, FRESH', 'header'), []);
});

test('reads negative and wide values correctly', async () => {
  const reasons = await states('IDLE = -3, READY', 'IDLE = -4, READY = -2', 'header');
  assert.match(message(reasons), /IDLE -3 -> -4;/);
  const wide = await states('IDLE, READY = 0x100000000', 'IDLE, READY = 0x200000000', 'header');
  assert.match(message(wide), /READY 4294967296 -> 8589934592;/);
});

test('counts an unnamed enumeration where it is used; asks for a review of a named one without visible use', async () => {
  const text = (constants: string, tag: string): string =>
    `#line 1 "include/unit.h"\n${tag} { ${constants} };\n#line 1 "${SOURCE}"\nvoid go(int); int use(int a) { go(READY); return a; }\n`;
  const nameless = await compare(text('IDLE, READY', 'enum'), text('IDLE, HALF, READY', 'enum'), ['use']);
  assert.deepEqual(verdicts(nameless), [['enum-value-changed', 'refused', 'enum { IDLE, ... }']]);
  const named = await compare(text('IDLE, READY', 'enum flag'), text('IDLE, HALF, READY', 'enum flag'), ['use']);
  assert.deepEqual(verdicts(named), [['enum-value-changed', 'needs-review', 'enum flag']]);
});

test('refuses a changed unnamed enumeration that is a member, because live objects hold its values', async () => {
  const text = (constants: string): string =>
    `#line 1 "${SOURCE}"\nstruct job { enum { ${constants} } state; } job; int use(void) { return job.state == READY; }\n`;
  const reasons = await compare(text('IDLE, READY'), text('IDLE, HALF, READY'), ['use']);
  assert.deepEqual(verdicts(reasons), [['enum-value-changed', 'refused', 'enum { IDLE, ... }']]);
});

test('asks for a review of a constant that is in the code alone', async () => {
  const text = (value: number): string => `static const int limit = ${value}; int use(int a) { return a > limit; }`;
  const reasons = await compare(text(5), text(6), ['use']);
  assert.deepEqual(verdicts(reasons), [['constant-value-changed', 'needs-review', 'limit']]);
  assert.match(message(reasons), /limit changes from 5 to 6/);
});

test('refuses a changed prototype that other units use, and accepts one of a static function', async () => {
  const both = (before: string, after: string, more = ''): Promise<Reason[]> =>
    compare(`struct sock; ${more} ${before}`, `struct sock; ${more} ${after}`, ['use']);
  for (const [before, after] of [
    ['int use(int a) { return a; }', 'int use(int a, int b) { return a + b; }'],
    ['int use(int a) { return a; }', 'int use(long a) { return a; }'],
    ['int use(int a) { return a; }', 'void use(int a) { }'],
    ['long use(struct sock *s) { return (long)s; }', 'long use(struct inode *s) { return (long)s; }'],
  ] as const) {
    const reasons = await both(before, after);
    assert.deepEqual(verdicts(reasons), [['prototype-changed', 'refused', 'use']], after);
  }
  const review = [['prototype-changed', 'needs-review', 'use']];
  assert.deepEqual(verdicts(await both('int use(int a) { return a; }', 'int use(unsigned a) { return a; }')), review);
  assert.deepEqual(verdicts(await both('void use(int a) { }', 'int use(int a) { return a; }')), review);
  assert.deepEqual(await both('int use(const int *a) { return *a; }', 'int use(int *a) { return *a; }'), []);
  const inner = (parameters: string, call: string): string =>
    `static __attribute__((noinline)) int part(${parameters}) { return a * 3; } int use(int x) { return part(${call}); }`;
  assert.deepEqual(await compare(inner('int a', 'x'), inner('int a, int b', 'x, 2'), ['use', 'part']), []);
});

test('refuses a called function with a changed declaration', async () => {
  const text = (parameters: string, call: string): string =>
    `int far(${parameters}); int use(int x) { return far(${call}); }`;
  const reasons = await compare(text('int', 'x'), text('int, int', 'x, 2'), ['use']);
  assert.deepEqual(verdicts(reasons), [['prototype-changed', 'refused', 'far']]);
  assert.match(message(reasons), /far, which other units use, changes from int \(int\) to int \(int, int\)/);
});

test('asks for a review of a changed prototype if all callers are rebuilt, but refuses one of an export', async () => {
  const text = (parameters: string, more = ''): string => `int use(${parameters}) { return a; } ${more}`;
  const reasons = await compare(text('int a'), text('int a, int b'), ['use'], ['include/unit.h']);
  assert.deepEqual(verdicts(reasons), [['prototype-changed', 'needs-review', 'use']]);
  assert.match(message(reasons), /all its callers have to be part of the livepatch/);
  for (const mark of ['__ksymtab_use', '__export_symbol_use']) {
    const exported = `void *${mark} = use;`;
    const refused = await compare(text('int a', exported), text('int a, int b', exported), ['use'], ['include/unit.h']);
    assert.deepEqual(verdicts(refused), [['prototype-changed', 'refused', 'use']], mark);
  }
});

test('refuses a variable that changes its type if a function of the livepatch uses it', async () => {
  const text = (type: string): string =>
    `struct a { long x; }; struct b { long y; }; ${type} state; long use(void) { return (long)&state; } long other(void) { return 1; }`;
  const refused = await compare(text('struct a'), text('struct b'), ['use']);
  assert.deepEqual(verdicts(refused), [['data-retyped', 'refused', 'state']]);
  assert.deepEqual(verdicts(await compare(text('int'), text('unsigned'), ['use'])), [
    ['data-retyped', 'needs-review', 'state'],
  ]);
  assert.deepEqual(await compare(text('struct a'), text('struct b'), ['other']), []);
});

test('counts a static variable inside a function as one of that function', async () => {
  const text = (type: string): string =>
    `struct a { long x; }; struct b { long y; } kept; void go(void *); long use(void) { static ${type} *last; go(&last); return (long)last; }`;
  const reasons = await compare(text('struct a'), text('struct b'), ['use']);
  assert.deepEqual(verdicts(reasons), [['data-retyped', 'refused', 'last of use']]);
});
