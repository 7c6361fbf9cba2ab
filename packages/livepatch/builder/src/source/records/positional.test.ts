import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillsByPosition } from './positional.ts';

const TYPES =
  'struct p { int a; int b; }; struct holder { int c; struct p p; }; typedef struct p p_t; struct lent { struct p *p; }; ';

function fills(text: string): boolean {
  return fillsByPosition(TYPES + text, ['struct p']);
}

test('takes a value that names its members for not positional', () => {
  for (const text of [
    'struct p one = { .a = 1, .b = 2 };',
    'const struct p many[] = { { .a = 1 }, [3] = { .b = 2, } };',
    'struct p none = { }; struct p zero = { 0 };',
    'struct holder h = { .c = 1, .p = { .a = 1 }, .p.b = 2 };',
    'void f(void) { struct p x = { .a = g(1, 2) }, y; x = (struct p){ .b = 1 }; }',
    'struct lent l = { 0 }; struct lent m = { &zero };',
    'struct p *get(struct p *from) { return from ? from : 0; }',
  ])
    assert.equal(fills(text), false, text);
});

test('finds a value without the names of members wherever it is', () => {
  for (const text of [
    'struct p one = { 1, 2 };',
    'struct p one = { .a = 1, 2 };',
    'struct p none, one = { 1, 2 };',
    'const struct p many[] = { { .a = 1 }, { 1, 2 } };',
    'const struct p many[] = { 1, 2, 3, 4 };',
    'struct holder h = { .c = 1, .p = { 1, 2 } };',
    'struct holder h = { 1, 2, 3 };',
    'p_t one = { 1, 2 };',
    'void f(void) { g(&(struct p){ 1, 2 }); }',
    'void f(void) { struct p x = { .a = 1 }, y = { 1, 2 }; }',
    'void f(void) { struct p x[2] = { [0] = { 1, 2 } }; }',
    'static inline void f(void) { static const struct p x = { 1, 2 }; }',
  ])
    assert.equal(fills(text), true, text);
});
