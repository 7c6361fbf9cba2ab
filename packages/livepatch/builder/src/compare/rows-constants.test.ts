import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withCopies } from '../extract/copies.ts';
import { changeOf, codesOf, extractOf, namesOf, summary } from '../testing/fixture.ts';
import { objectOf } from '../testing/gcc.ts';
import { compareUnit } from './compare.ts';

/** Constants inside functions: live objects may point to the kernel's own, and have to go on doing so. */

const INODE = `
struct ops { int (*open)(int); int (*read)(int); }; struct inode { const struct ops *op, *fop; int count; };
int use(int); static int no_open(int a) { return -a; }
int init(struct inode *inode) {
	static const struct ops empty_iops;
	static const struct ops no_open_fops = { .open = no_open };
	inode->op = &empty_iops; inode->fop = &no_open_fops; inode->count = 1;
	return 0;
}
int other(int a) { static const struct ops empty_iops = { no_open, no_open }; return use(empty_iops.open == (void *)use); }
`;

test('keeps the running kernel’s constants whose address live objects keep', async () => {
  const { change, file, needs } = await extractOf(INODE, INODE.replace('count = 1', 'count = 2'));
  assert.deepEqual(summary(change), [['init'], [], []]);
  const wanted = needs.filter(({ name }) => /_(?:iops|fops)/.test(name));
  assert.deepEqual(
    wanted.map(({ name, original }) => [name.replace(/\.\d+$/, ''), original?.symbol?.name === name]).sort(),
    [
      ['empty_iops', true],
      ['no_open_fops', true],
    ],
  );
  assert.ok(!file.sections.some(({ name }) => name.includes('iops') || name.includes('fops')));
});

test('does not follow shifted numbers to another function’s constant', async () => {
  const added = (name: string, ops: string): string =>
    `int ${name}(int a) { static const struct ops no_open_fops = ${ops}; return use((long)&no_open_fops + a); }\nint init(`;
  const text = INODE.replace('int init(', added('first', '{ .read = no_open }'));
  const after = text
    .replace('count = 1', 'count = 2')
    .replace('int first(', `${added('zero', '{ use }').replace('int init(', '')}int first(`);
  const { change, needs } = await extractOf(text, after);
  assert.deepEqual([namesOf(change.changed.keys()), codesOf(change)], [['init'], []]);
  // That of init() has its only address at the beginning.
  const places = needs
    .filter(({ name }) => name.startsWith('no_open_fops'))
    .map(({ original }) => original?.section.relocations.map(({ offset }) => offset));
  assert.deepEqual(places, [[0]]);
});

test('refuses changed operations that live objects point to', async () => {
  const after = INODE.replace('{ .open = no_open }', '{ .open = no_open, .read = no_open }');
  assert.deepEqual(codesOf(await changeOf(INODE, after)), ['constant-changed']);
});

const TABLE = `
int use(int); int counter;
int pick(int a) { static const int table[] = { 3, 1, 4, 1, 5, 9, 2, 6 }; counter++; return table[a & 7]; }
int call(int a) { static int (*const handlers[])(int) = { use, pick }; counter += 2; return handlers[a & 1](a); }
`;

test('copies a table that is only read if it changed or its place is not proven', async () => {
  const numbers = await changeOf(TABLE, TABLE.replace('9, 2, 6', '9, 2, 7'));
  assert.deepEqual(summary(numbers), [['pick'], ['table'], []]);
  const handlers = await changeOf(TABLE, TABLE.replace('{ use, pick }', '{ pick, use }'));
  assert.deepEqual(summary(handlers), [['call'], ['handlers'], []]);
});

test('copies a table that is read without a proven place, but not operations', async () => {
  const text = `${INODE}${TABLE.replace('int use(int);', '')}`;
  const after = text.replace('count = 1', 'count = 2').replace('counter++', 'counter--').replace('+= 2', '+= 3');
  const flags = ['-g', '-I', `${import.meta.dirname}/../testing/include`];
  const [original, patched] = await Promise.all(
    [text, after].map((each) => objectOf(`#include "kernel.h"\n${each}`, { flags })),
  );
  assert.ok(original !== undefined && patched !== undefined);
  const change = compareUnit({ source: 'a/unit.c', object: 'vmlinux' }, original, patched);
  assert.deepEqual(summary(change), [['call', 'init', 'pick'], [], []]);
  const known = withCopies(patched, change, { addresses: new Map() });
  assert.deepEqual(namesOf(known.added), ['table']);
  assert.ok([...known.same.keys()].some(({ key }) => key === 'handlers'));
});

test('copies texts and tables of the compiler, whatever their number', async () => {
  const before = `void take(const char *); int counter;
int one(int a) { static const char name[] = "one"; take(name); take(__func__); counter++; return 0; }
int two(int a) { switch (a) { case 0: return 7; case 1: return 11; case 2: return 5; case 3: return 90; case 4: return 2; case 5: return 8; } return counter; }`;
  const { change, needs } = await extractOf(
    before,
    before.replace('counter++', 'counter--').replace('return 8', 'return 9'),
  );
  assert.deepEqual([namesOf(change.changed.keys()), codesOf(change)], [['one', 'two'], []]);
  assert.deepEqual(needs.map(({ name }) => name).sort(), ['__fentry__', 'counter', 'take']);
});

test('takes operations of one name in two blocks of a changed function as ambiguous, but not tables', async () => {
  const blocks = (type: string, first: string, second: string, use: string): string => `
struct ops { int (*open)(int); }; int use(int); void take(const void *);
int f(int a) {
	if (a > 5) { static ${type} = ${first}; ${use} }
	else { static ${type} = ${second}; ${use} }
	return use(a);
}`;
  const table = blocks('const int t[]', '{ 1, 5, 3, 7 }', '{ 9, 2, 7, 4 }', 'a += t[a & 3];');
  assert.deepEqual(codesOf(await changeOf(table, table.replace('return use(a)', 'return use(a + 1)'))), []);
  const ops = blocks('const struct ops t', '{ use }', '{ (void *)take }', 'take(&t);');
  const change = await changeOf(ops, ops.replace('return use(a)', 'return use(a + 1)'));
  assert.deepEqual([...new Set(codesOf(change))], ['static-local-ambiguous']);
});
