import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keptOf } from '../testing/fixture.ts';

/** Addresses of the livepatch's own things that live objects may have when its module is long gone. */

const BASE = `
typedef unsigned long size_t;
struct work { int (*function)(int); const void *data; };
struct work hook; int counter; int use(int); void queue(struct work *, int (*)(int)); void take(const void *);
void mutex_lock(void *); void nf_ct_iterate_destroy(int (*)(int), void *); void sort(void *, size_t, size_t, int (*)(int), void *);
noinline int old(int a) { return use(a) * 3; }
int changed(struct work *w, int a) { use(a); return a; }
`;
const FRESH = 'static noinline int fresh(int a) { return use(a) + 5; }\n';

/** The fix: `body` in front of the return of `changed`, and `more` in front of it. */
const fixed = (body: string, more = FRESH): string =>
  BASE.replace('int changed(', `${more}int changed(`).replace('use(a); return a', `use(a); ${body} return a`);

const told: readonly (readonly [what: string, after: string, kept: readonly string[]])[] = [
  [
    'a new function as the handler of a live object',
    fixed('w->function = fresh;'),
    ['changed takes the address of the new function fresh and stores it'],
  ],
  [
    'a new function handed over to another one',
    fixed('queue(w, fresh);'),
    ['changed takes the address of the new function fresh, before it calls queue'],
  ],
  [
    'operations with a new function',
    fixed('w->data = &fresh_ops;', `${FRESH}static const struct work fresh_ops = { fresh };\n`),
    [
      "changed takes the address of the livepatch's own constant fresh_ops and stores it",
      'fresh_ops takes the address of the new function fresh',
    ],
  ],
  [
    'new operations of functions that are the kernel’s',
    fixed('w->data = &fresh_ops;', 'static const struct work fresh_ops = { old };\n'),
    ["changed takes the address of the livepatch's own constant fresh_ops and stores it"],
  ],
  [
    'new operations without anything in them',
    fixed('w->data = &empty;', 'static const struct work empty;\n'),
    ["changed takes the address of the livepatch's own constant empty and stores it"],
  ],
  [
    'a new variable',
    fixed('take(&fresh_list);', 'static struct work fresh_list;\n'),
    ['changed takes the address of the new variable fresh_list, before it calls take'],
  ],
  [
    'a new table of functions, out of which any may be taken',
    fixed('w->function = table[a & 1];', `${FRESH}static int (*const table[])(int) = { old, fresh };\n`),
    ['table takes the address of the new function fresh'],
  ],
  [
    'what a new function of the livepatch takes',
    fixed(
      'a = fresh(a);',
      `static noinline int other(int a) { return use(a) + 7; }
       static noinline int fresh(int a) { hook.function = other; return use(a); }\n`,
    ),
    ['fresh takes the address of the new function other and stores it'],
  ],
];

for (const [what, after, kept] of told) {
  test(`asks for a review of ${what}`, async () => {
    assert.deepEqual(await keptOf(BASE, after), kept);
  });
}

const quiet: readonly (readonly [what: string, after: string])[] = [
  ['calls and jumps to a new function', fixed('if (a) use(fresh(a)); else return fresh(a);')],
  [
    'a replaced function, of which the kernel’s own address is taken',
    fixed('w->function = old;', '').replace('* 3', '* 4'),
  ],
  ['comparing with a new function', fixed('if (w->function == fresh) return fresh(a);')],
  ['a new variable that is read and written', fixed('fresh_count += a;', 'static int fresh_count;\n')],
  ['a new table that is read', fixed('counter = table[a];', 'static const int table[] = { 3, 1, 4, 1, 5 };\n')],
  [
    'a new table that another function looks at',
    fixed('take(table);', 'static const int table[] = { 3, 1, 4, 1, 5 };\n'),
  ],
  ['texts', fixed('w->data = "text"; take(__func__);', '')],
  ['a lock of the livepatch’s own', fixed('mutex_lock(&fresh_lock);', 'static struct work fresh_lock;\n')],
  ['a function that is called back before the call returns', fixed('sort(w, a, 4, fresh, 0);')],
  ['a function that is called back for each of many', fixed('nf_ct_iterate_destroy(fresh, w);')],
  ['once-flags and lock classes', fixed('static char __key; take(&__key);', '')],
];

for (const [what, after] of quiet) {
  test(`gives no reason for ${what}`, async () => {
    assert.deepEqual(await keptOf(BASE, after), []);
  });
}

test('accepts jump tables of a new function, which lead into it and are not kept', async () => {
  const cases = Array.from({ length: 9 }, (_, n) => `case ${n}: return use(a + ${n * n + 3}) * ${n + 2};`).join(' ');
  const after = fixed('fresh(a);', `static noinline int fresh(int a) { switch (a) { ${cases} } return 0; }\n`);
  assert.deepEqual(await keptOf(BASE, after, { flags: ['-fjump-tables'] }), []);
});

test('takes a new function of another file of the livepatch for one of its own', async () => {
  const after = fixed('queue(w, elsewhere); use(elsewhere(a));', 'int elsewhere(int);\n');
  assert.deepEqual(await keptOf(BASE, after), []);
  assert.deepEqual(await keptOf(BASE, after, { elsewhere: ['elsewhere'] }), [
    "changed takes the address of another file's new elsewhere, before it calls queue",
  ]);
});
