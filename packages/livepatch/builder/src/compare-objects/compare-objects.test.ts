import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run } from '@kmend/base/node';
import { type CompileOptions, compiled } from '../testing/gcc.ts';
import { compareObjects } from './compare-objects.ts';
import type { ChangedItem, Item, ObjectComparison } from './model.ts';

const directory = await mkdtemp(join(tmpdir(), 'kmend-compare-'));
after(() => rm(directory, { recursive: true, force: true }));
let files = 0;

async function file(content: string | Uint8Array): Promise<string> {
  const path = join(directory, `${files++}`);
  await writeFile(path, content);
  return path;
}

async function compare(
  before: string,
  patched: string,
  options: CompileOptions & { readonly symbols?: string } = {},
): Promise<ObjectComparison> {
  const [original, changed] = [await compiled(before, options), await compiled(patched, options)];
  const symbols = options.symbols === undefined ? {} : { symbols: await file(options.symbols) };
  const request = { original: await file(original), patched: await file(changed), ...symbols };
  return await compareObjects({ run, signal: new AbortController().signal }, request);
}

const JOINED: CompileOptions = { layout: 'joined' };
const names = (items: readonly Item[]): string[] => items.map(({ name }) => name).sort();
const codes = ({ reasons }: ObjectComparison): string[] => reasons.map(({ code }) => code).sort();

function only(items: readonly ChangedItem[]): ChangedItem {
  const [item] = items;
  assert.ok(item !== undefined && items.length === 1, names(items).join());
  return item;
}

/** What a comparison says in short: changed, new and removed functions, then data. */
function short({ functions, data }: ObjectComparison): string[][] {
  return [functions, data].flatMap(({ changed, added, removed }) => [names(changed), names(added), names(removed)]);
}

const BASE = `
int printk(const char *, ...); void *lookup(int); extern int limit;
static int state = 4; int shared; static const int table[] = { 1, 2, 3 }; static char *words[] = { "one", "two" };
static __attribute__((noipa)) int early(int a) { return a * 3 + shared; }
static __attribute__((noipa)) int helper(int a) { return a * table[a & 1] + state; }
int first(int a) { if (a > limit) printk("too large: %d %s", a, words[a & 1]); return helper(a) + early(a); }
int second(int a) { shared += a; state++; return helper(a + 1); }
static __attribute__((noipa)) int third(int a) { return a ? early(a) : helper(a); }
int fourth(int a) { return third(a) - 1; }
`;

for (const layout of ['joined', 'separate'] as const) {
  test(`finds no change between an object and itself (${layout})`, async () => {
    const comparison = await compare(BASE, BASE, { layout });
    assert.equal(comparison.verdict, 'unchanged');
    assert.deepEqual(short(comparison), [[], [], [], [], [], []]);
    assert.deepEqual([comparison.functions.same, comparison.data.same], [6, 4]);
  });

  test(`reports only the function that grows, though all behind it and their calls move (${layout})`, async () => {
    const grown = BASE.replace('a * 3 + shared', '(a > 7 ? a * 3 + limit : a) * a + shared');
    const comparison = await compare(BASE, grown, { layout });
    assert.deepEqual(short(comparison), [['early'], [], [], [], [], []]);
    assert.equal(comparison.verdict, 'patchable');
    const { difference, gained, lost, originalSize, size } = only(comparison.functions.changed);
    assert.equal(difference.kind, 'instruction');
    assert.deepEqual([gained, lost], [['limit'], []]);
    assert.ok(size > originalSize);
  });

  test(`reports a call that goes to another function with both (${layout})`, async () => {
    const comparison = await compare(BASE, BASE.replace('third(a) - 1', 'early(a) - 1'), { layout });
    const { name, difference, gained, lost } = only(comparison.functions.changed);
    assert.equal(name, 'fourth');
    assert.ok(difference.kind === 'instruction');
    assert.deepEqual([difference.original, difference.patched], ['call third', 'call early']);
    assert.deepEqual([gained, lost], [['early'], ['third']]);
  });
}

test('does not report a longer branch as the first difference', async () => {
  const branching = `int printk(const char *, ...); int limit, sum;
    int f(int a) { if (__builtin_expect(a > 9, 0)) { sum += a; return 1; } printk("small"); printk("%d", a); return sum; }`;
  const comparison = await compare(branching, branching.replace('printk("%d", a);', 'printk("%d", a + limit);'));
  const { difference } = only(comparison.functions.changed);
  assert.ok(difference.kind === 'instruction' && difference.original !== undefined);
  assert.doesNotMatch(difference.original, /^j/);
});

test('compares texts by content, and shows them', async () => {
  const comparison = await compare(BASE, BASE.replace('too large', 'too great'), JOINED);
  const { name, difference } = only(comparison.functions.changed);
  assert.equal(name, 'first');
  assert.ok(difference.kind === 'instruction');
  assert.match(difference.original ?? '', /^mov .*<"too large: %d %s">$/);
  assert.match(difference.patched ?? '', /^mov .*<"too great: %d %s">$/);
});

test('reports changed, new and removed data with what differs', async () => {
  const changed = BASE.replace('state = 4', 'state = 5')
    .replace('"two"', '"three"')
    .replace('int shared;', 'int shared, fresh = 1;');
  const comparison = await compare(BASE, changed, JOINED);
  assert.deepEqual(short(comparison).slice(3), [['state', 'words'], ['fresh'], []]);
  const differences = Object.fromEntries(comparison.data.changed.map(({ name, difference }) => [name, difference]));
  assert.deepEqual(differences.state, { kind: 'content', offset: 0, original: '04000000', patched: '05000000' });
  assert.deepEqual(differences.words, { kind: 'content', offset: 8, original: '"two"', patched: '"three"' });
  assert.equal(comparison.verdict, 'refused');
  assert.deepEqual(codes(comparison), ['data-changed']);
  const longer = await compare(BASE, BASE.replace('{ 1, 2, 3 }', '{ 1, 2, 3, 4 }'), JOINED);
  assert.deepEqual(only(longer.data.changed).difference, { kind: 'size', original: 12, patched: 16 });
});

test('reports new and removed functions', async () => {
  const more = BASE.replace(
    'int second(int a) {',
    'int extra(int a) { return a + 2; } int second(int a) { a += extra(a);',
  );
  assert.deepEqual(short(await compare(BASE, more, JOINED)).slice(0, 3), [['second'], ['extra'], []]);
  assert.deepEqual(short(await compare(more, BASE, JOINED)).slice(0, 3), [['second'], [], ['extra']]);
});

const BUG = (line: number, flags = 0): string => `
void before(void); void behind(void);
void warns(void) { before(); asm volatile("1: ud2\\n.pushsection __bug_table,\\"aw\\"\\n2: .long 1b - .\\n .long %c0 - .\\n .word %c1\\n .word %c2\\n .org 2b+12\\n.popsection" :: "i" ("unit.c"), "i" (${line}), "i" (${flags})); behind(); }
void other(void) { before(); }
`;

test('reports a table entry with what differs', async () => {
  const flagged = only((await compare(BUG(17), BUG(17, 9), JOINED)).functions.changed);
  assert.deepEqual(flagged.difference, {
    kind: 'entry',
    table: '__bug_table',
    index: 0,
    offset: 10,
    original: '0000',
    patched: '0900',
  });
  const gone = only(
    (await compare(BUG(17), BUG(17).replace(/\.pushsection.*?popsection/, ''), JOINED)).functions.changed,
  );
  assert.deepEqual(gone.difference, { kind: 'entries', table: '__bug_table', original: 1, patched: 0 });
});

test('refuses a table that it does not understand, and compares the rest', async () => {
  const broken = BUG(17).replace('.long 1b - .', '.long 0');
  const comparison = await compare(broken, broken.replace('behind();', ''), JOINED);
  assert.deepEqual([comparison.verdict, codes(comparison)], ['refused', ['table-unclear']]);
  assert.deepEqual(names(comparison.functions.changed), ['warns']);
  assert.equal(comparison.checks.find(({ check }) => check === 'tables')?.made, false);
});

const ALTERNATIVES = (replacement: string): string => `
#define ALT(old, new) "661: " old "\\n662:\\n.pushsection .altinstructions,\\"a\\"\\n .long 661b - .\\n .long 663f - .\\n .word 7\\n" \\
  ".byte 662b-661b\\n .byte 664f-663f\\n.popsection\\n.pushsection .altinstr_replacement,\\"ax\\"\\n663: " new "\\n664:\\n.popsection\\n"
void before(void); void behind(void);
void nothing(void) { before(); asm volatile(ALT("nop; nop; nop", "")); behind(); }
void something(void) { before(); asm volatile(ALT("nop; nop; nop", "${replacement}")); behind(); behind(); }
void last(void) { behind(); asm volatile(ALT("nop; nop; nop", "")); before(); }
`;

test('does not take a replacement without bytes for that of the function behind it', async () => {
  const { functions } = await compare(ALTERNATIVES('lfence'), ALTERNATIVES('mfence'), JOINED);
  assert.deepEqual([names(functions.changed), functions.same], [['something'], 2]);
  const flagged = ALTERNATIVES('lfence').replace('.word 7', '.word 8');
  assert.equal((await compare(ALTERNATIVES('lfence'), flagged, JOINED)).functions.changed.length, 3);
});

test('reports a changed cold part with its function', async () => {
  const cold = `__attribute__((cold)) void bad(int); int x; int third(int a) { if (a < 0) { bad(a); bad(2); x = 9; } return a; }`;
  const { name, difference } = only((await compare(cold, cold.replace('bad(2)', 'bad(3)'), JOINED)).functions.changed);
  assert.equal(name, 'third');
  assert.ok(difference.kind === 'instruction');
  assert.deepEqual(
    [difference.part, difference.original, difference.patched],
    ['third.cold', 'mov $0x2,%edi', 'mov $0x3,%edi'],
  );
});

test('compares aliases and weak symbols', async () => {
  const aliased = `${BASE} int alias(int) __attribute__((alias("second"))); __attribute__((weak)) int soft(int a) { return a; }`;
  assert.equal((await compare(aliased, aliased, JOINED)).verdict, 'unchanged');
  assert.deepEqual(short(await compare(BASE, aliased, JOINED)).slice(0, 3), [[], ['alias', 'soft'], []]);
  const changed = await compare(aliased, aliased.replace('shared += a', 'shared -= a'), JOINED);
  assert.equal(changed.functions.changed.length, 1);
});

test('compares common symbols as variables', async () => {
  const common: CompileOptions = { layout: 'joined', flags: ['-fcommon'] };
  assert.equal((await compare(BASE, BASE, common)).verdict, 'unchanged');
  const larger = await compare(
    BASE,
    BASE.replace('int shared;', 'int shared[4];')
      .replaceAll(/shared(?!\[)/g, 'shared[0]')
      .replace('int shared[0][4]', 'int shared[4]'),
    common,
  );
  assert.deepEqual(only(larger.data.changed).difference, { kind: 'size', original: 4, patched: 16 });
});

const ASSEMBLER = (constant: number): string => `
.text
.globl one
one: mov $1,%eax
 call two
 ret
.globl two
two: mov $${constant},%eax
.Lagain: dec %eax
 jne .Lagain
 ret
.balign 16
.globl three
__pfx_three: .nops 16
.type __pfx_three,@function
.size __pfx_three,16
three: jmp one
`;

test('compares assembler functions without type or size, and ignores the padding in front of functions', async () => {
  const source: CompileOptions = { language: 's' };
  const same = await compare(ASSEMBLER(2), ASSEMBLER(2), source);
  assert.deepEqual([same.verdict, same.functions.same], ['unchanged', 3]);
  const { name, difference } = only((await compare(ASSEMBLER(2), ASSEMBLER(3), source)).functions.changed);
  assert.ok(difference.kind === 'instruction');
  assert.deepEqual([name, difference.offset, difference.patched], ['two', 0, 'mov $0x3,%eax']);
  // Not traced: nothing that livepatch could take hold of.
  assert.deepEqual(codes(await compare(ASSEMBLER(2), ASSEMBLER(3), source)), ['not-traceable']);
});

test('compares the type hash in front of a function with it', async () => {
  const hashed = (hash: number): string => `.text
    .globl f
    __cfi_f: .nops 11
    mov $${hash},%eax
    .type __cfi_f,@function
    .size __cfi_f,16
    .type f,@function
    f: ret
    .size f,.-f`;
  const source: CompileOptions = { language: 's' };
  assert.equal((await compare(hashed(7), hashed(7), source)).verdict, 'unchanged');
  assert.equal(only((await compare(hashed(7), hashed(8), source)).functions.changed).difference.kind, 'prototype-hash');
});

const SYMBOLS = ['first', 'second', 'third', 'third', 'printk', '__ksymtab_printk', 'limit', 'early', 'helper', 'words']
  .map((name, index) => `ffffffff8100${index}000 t ${name}\n`)
  .join('');

test('shows with a list of symbols which functions the kernel has, and what could be linked to', async () => {
  const changed = BASE.replace('shared += a', 'shared -= a')
    .replace('third(a) - 1', 'third(a) - 2')
    .replace('a ? early(a)', 'a > 1 ? early(a)')
    .replace('a > limit', 'a > limit + 1');
  const comparison = await compare(BASE, changed, { layout: 'joined', symbols: SYMBOLS });
  assert.deepEqual(Object.fromEntries(comparison.functions.changed.map(({ name, inKernel }) => [name, inKernel])), {
    first: { state: 'once' },
    second: { state: 'once' },
    third: { state: 'ambiguous', count: 2 },
    fourth: { state: 'absent' },
  });
  const standing = new Map(comparison.references.map((reference) => [reference.name, reference.standing]));
  assert.equal(standing.get('printk'), 'exported');
  assert.equal(standing.get('limit'), 'unexported');
  assert.equal(standing.get('__fentry__'), 'absent');
  // Changed themselves, or their own copies: not taken from the kernel.
  for (const name of ['third', 'first']) assert.equal(standing.has(name), false, name);
  assert.equal(comparison.checks.find(({ check }) => check === 'symbols')?.made, true);
});

test('says without it what was not checked', async () => {
  const { checks, references, functions } = await compare(BASE, BASE.replace('shared += a', 'shared -= a'), JOINED);
  const made = Object.fromEntries(checks.map((entry) => [entry.check, entry.made]));
  assert.deepEqual(made, { tables: true, types: false, symbols: false, objtool: true, 'byte-proof': false });
  assert.ok(references.length > 0 && references.every(({ standing }) => standing === 'unknown'));
  assert.equal(only(functions.changed).inKernel, undefined);
});

const TYPED = `
struct bug_entry { int bug_addr_disp; int file_disp; unsigned short line, flags; };
struct session { int id; int users; }; struct bug_entry *entry; struct session *find(int);
int count(int a) { struct session *s = find(a); return s->users + a; }
`;

test('compares types with debug information, and reports an object without it', async () => {
  const debug: CompileOptions = { layout: 'joined', flags: ['-g'] };
  const same = await compare(TYPED, TYPED, debug);
  assert.deepEqual([same.verdict, same.checks.find(({ check }) => check === 'types')?.made], ['unchanged', true]);
  const moved = await compare(TYPED, TYPED.replace('int id;', 'int id, generation;'), debug);
  assert.deepEqual([moved.verdict, codes(moved)], ['refused', ['type-layout-changed']]);
  assert.match(moved.reasons[0]?.message ?? '', /struct session .*count/);
  const request = { original: await file(await compiled(TYPED, debug)), patched: await file(await compiled(TYPED)) };
  const { checks } = await compareObjects({ run, signal: new AbortController().signal }, request);
  const types = checks.find(({ check }) => check === 'types');
  assert.equal(types?.made, false);
  assert.match(types?.note ?? '', /of the patched object, it has no debug information/);
});

test("takes a table's entry size from the object's own debug information", async () => {
  const debug: CompileOptions = { layout: 'joined', flags: ['-g'] };
  const { tables } = await compare(`${TYPED}${BUG(3)}`, `${TYPED}${BUG(3)}`, debug);
  assert.deepEqual(
    tables.find(({ section }) => section === '__bug_table'),
    {
      section: '__bug_table',
      entrySize: 12,
      from: 'object-types',
    },
  );
});
