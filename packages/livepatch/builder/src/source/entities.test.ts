import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changedEntities, mentions } from './entities.ts';

const HEADER = `
/* what a header is made of */
#ifndef _SOME_H
#define _SOME_H
#define LIMIT 10
#define wrap(x) \\
	inner(x, LIMIT)
struct thing { int a; int b; };
typedef unsigned long handle_t;
enum state { FIRST, SECOND = 5, THIRD };
extern int counter;
DECLARE_PER_CPU(u32, place);
int plain(struct thing *t);
static inline __attribute__((unused)) int inner(int x, int y)
{
	if (x) { return y; }
	return x + y;
}
#ifdef CONFIG_OTHER
void other(void);
#else
static inline void other(void) { }
#endif
#endif
`;
const changed = (from: string, to: string): string[] => changedEntities(HEADER, HEADER.replace(from, to)).sort();

test('names a definition that changes, in every form', () => {
  assert.deepEqual(changed('LIMIT 10', 'LIMIT 11'), ['LIMIT']);
  assert.deepEqual(changed('inner(x, LIMIT)', 'inner(x, 3)'), ['wrap']);
  assert.deepEqual(changed('int b;', 'long b;'), ['thing']);
  assert.deepEqual(changed('unsigned long handle', 'unsigned int handle'), ['handle_t']);
  assert.deepEqual(changed('extern int counter', 'extern long counter'), ['counter']);
  assert.deepEqual(changed('u32, place', 'u64, place'), ['place']);
  assert.deepEqual(changed('plain(struct thing *t)', 'plain(const struct thing *t)'), ['plain']);
  assert.deepEqual(changed('return x + y', 'return x - y'), ['inner']);
});

test('names a pointer to a function by itself, not by a type', () => {
  const text = 'extern int (*hook)(int);\ntypedef_t (* const get)(int a);\nu32 (*split)(const struct x *x, u16 *y);\n';
  const names = (from: string, to: string): string[] => changedEntities(text, text.replace(from, to));
  assert.deepEqual(names('hook)(int)', 'hook)(long)'), ['hook']);
  assert.deepEqual(names('int a', 'long a'), ['get']);
  assert.deepEqual(names('u16', 'u32'), ['split']);
  assert.deepEqual(changedEntities('__must_check int (*a)(int);\n', '__must_check int (*a)(long);\n'), ['a']);
});

test('never takes a number for a name', () => {
  assert.deepEqual(changedEntities('MAKE_KEY(1, flag) 1;\n', 'MAKE_KEY(2, flag) 2;\n'), ['flag']);
});

test('names removed definitions, not new ones, comments or white space', () => {
  assert.deepEqual(changed('#define LIMIT 10\n', ''), ['LIMIT']);
  assert.deepEqual(changed('extern int counter;', 'extern int counter;\nextern int more;\n#define MORE 1'), []);
  assert.deepEqual(changed('/* what a header is made of */', '/* another */\n\n'), []);
  assert.deepEqual(changed('extern int counter;', 'extern\tint   counter; /* counts */'), []);
});

test('compares an enumerator by its value', () => {
  assert.deepEqual(changed('THIRD }', 'THIRD, FOURTH }'), []);
  assert.deepEqual(changed('FIRST,', 'ZEROTH, FIRST,'), ['FIRST']);
  assert.deepEqual(changed('SECOND = 5', 'SECOND = 6'), ['SECOND', 'THIRD']);
});

test('counts conditions only for what is under them', () => {
  assert.deepEqual(changed('CONFIG_OTHER', 'CONFIG_ANOTHER'), ['other']);
  assert.deepEqual(changed('#endif\n#endif', '#endif\n#ifdef CONFIG_NEW\nint fresh;\n#endif\n#endif'), []);
});

test('finds definitions that use a name', () => {
  const names = (word: string): string[] => mentions(HEADER, new Set([word])).map(([name]) => name);
  assert.deepEqual(names('LIMIT'), ['LIMIT', 'wrap']);
  assert.deepEqual(names('thing'), ['thing', 'plain']);
});
