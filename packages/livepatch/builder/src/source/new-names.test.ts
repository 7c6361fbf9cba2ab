import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayDeclare } from './new-names.ts';

test('takes members, local variables and calls for no declaration', () => {
  for (const text of [
    'struct path { struct device *dst_dev; };',
    'int f(struct path *p) { struct device *dst_dev = p->dst_dev; return g(dst_dev); }',
    'int f(struct device *dst_dev);',
  ])
    assert.equal(mayDeclare(text, new Set(['dst_dev'])), false, text);
});

test('finds a declaration that the unit sees, also one that a macro may make', () => {
  for (const text of [
    'struct device *dst_dev(struct path *p);',
    'static inline int dst_dev(int a) { return a; }',
    'extern int dst_dev;',
    'int f(void) { extern int first, dst_dev; return dst_dev; }',
    'DEFINE_THING(dst_dev, 1);',
    '#define dst_dev other',
    'typedef int dst_dev;',
  ])
    assert.equal(mayDeclare(text, new Set(['dst_dev'])), true, text);
});
