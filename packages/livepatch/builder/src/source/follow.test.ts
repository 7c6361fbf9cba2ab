import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { squeeze } from './declarations.ts';
import { canChangeCode } from './follow.ts';
import type { UnmovedRecord } from './records/unmoved.ts';

/** A unit with its header, as the preprocessor leaves them. */
const HEADER = `
#define LIMIT 10
#define inline inline __attribute__((__gnu_inline__)) __attribute__((__unused__))
struct unused { int a; };
struct inner { int a; int b; };
struct outer { struct inner in; long rest; };
struct holder { struct inner *lent; int (*use)(struct unused *, int); };
typedef struct __attribute__((packed)) named { char c; } named_t;
enum state { FIRST, SECOND = 5, THIRD, LAST };
union both { int i; long l; };
extern struct inner *get_inner(int which);
extern int take_inner(struct inner *given);
int plain(struct unused *u);
extern __attribute__((section(".data..percpu"))) __typeof__(struct inner) per_cpu_inner;
static inline int used(int x) { return x + 1; }
static inline int through(int x) { return used(x); }
static inline int idle(struct holder *h) { return h->lent->a + "a  b"[0]; }
static inline int big(struct unused *u) { return u->a; }
#pragma GCC diagnostic push
`;
const UNIT = `
int emitted(struct outer *o, int x) { return o->rest + through(x) + THIRD + LIMIT; }
struct named *keep;
`;

async function preprocessed(text: string): Promise<string> {
  const { stdout } = await run('gcc', ['-E', '-x', 'c', '-'], { stdin: text });
  return squeeze(stdout.toString());
}

/** Whether a change of the header can change the unit. */
async function reaches(from: string, to: string, unit = UNIT): Promise<boolean> {
  assert.ok(HEADER.includes(from), from);
  const [before, after] = [HEADER, HEADER.replace(from, () => to)].map((header) => preprocessed(header + unit));
  return canChangeCode((await before) ?? '', (await after) ?? '');
}

test('reaches what the unit emits: directly, through inline functions, and through types that hold others', async () => {
  assert.equal(await reaches('LIMIT 10', 'LIMIT 11'), true);
  assert.equal(await reaches('x + 1', 'x + 2'), true);
  assert.equal(await reaches('struct inner { int a; int b;', 'struct inner { int a; long b;'), true);
  assert.equal(await reaches('SECOND = 5', 'SECOND = 6'), true);
  assert.equal(await reaches('{ char c; } named_t', '{ short c; } named_t'), true);
});

test('does not reach what nothing that is emitted uses', async () => {
  assert.equal(await reaches('struct unused { int a;', 'struct unused { int b; int a;'), false);
  assert.equal(await reaches('return u->a', 'return 0'), false);
  assert.equal(await reaches('union both { int i;', 'union both { char i;'), false);
  assert.equal(await reaches('int plain(struct unused *u)', 'int plain(const struct unused *u)'), false);
  assert.equal(await reaches('h->lent->a', 'h->lent->b'), false);
});

test('does not reach what is new or only changes its place', async () => {
  assert.equal(await reaches('THIRD, LAST', 'THIRD, LAST, FOURTH'), false);
  assert.equal(await reaches('union both', 'static inline int fresh(void) { return used(1); }\nunion both'), false);
  assert.equal(await reaches('#define LIMIT 10', '\n\n#define LIMIT 10\n#define MORE 2'), false);
  const [swapped] = [HEADER.replace('union both { int i; long l; };', '')];
  const moved = `union both { int i; long l; };${swapped}`;
  assert.equal(canChangeCode(await preprocessed(HEADER + UNIT), await preprocessed(moved + UNIT)), false);
});

test('follows a type through functions, members, variables and aliases that hand it out', async () => {
  const reached = async (unit: string): Promise<boolean> =>
    await reaches('struct inner { int a; int b;', 'struct inner { int z; int a; int b;', unit);
  assert.equal(await reached('int f(void) { return get_inner(1)->a; }'), true);
  assert.equal(await reached('int f(struct holder *h) { return h->lent->a; }'), true);
  assert.equal(await reached('unsigned long f(struct holder *h) { return sizeof(*h->lent); }'), true);
  assert.equal(await reached('int f(void) { return per_cpu_inner.a; }'), true);
  assert.equal(await reached('int f(struct holder *h) { return idle(h); }'), true);
  assert.equal(await reached('long f(struct outer *o) { return o->rest; }'), true);
  // What only passes it on, or has a name of its own for something else, does not depend on it.
  assert.equal(await reached('int f(void *p) { return take_inner(p); }'), false);
  assert.equal(await reached('int f(int lent) { return lent; }'), false);
  assert.equal(await reached('int f(struct holder *h, struct unused *u) { return h->use(u, 1); }'), false);
});

test('compares constants by value, also those that other constants are made of', async () => {
  const unit = (name: string): string => `int f(void) { return ${name}; }`;
  assert.equal(await reaches('SECOND = 5', 'SECOND = 6', unit('LAST')), true);
  assert.equal(await reaches('SECOND = 5', 'SECOND = 6', unit('FIRST')), false);
  assert.equal(await reaches('FIRST, SECOND = 5', 'FIRST = 2, SECOND = FIRST + 3', unit('THIRD')), true);
  assert.equal(await reaches('THIRD, LAST', 'THIRD, MIDDLE, LAST', unit('LAST')), true);
  assert.equal(await reaches('SECOND = 5', 'SECOND = 6', 'int f(int (*a)[THIRD]) { return sizeof(*a); }'), true);
});

test('takes a blank in a string as part of it, but not a counted name', async () => {
  const unit = 'int f(struct holder *h) { return idle(h); }';
  assert.equal(await reaches('"a  b"', '"a b"', unit), true);
  const counted = (start: number): string =>
    `static int __UNIQUE_ID_x${start}; int f(void) { return __UNIQUE_ID_x${start}; }`;
  assert.equal(canChangeCode(squeeze(counted(1)), squeeze(counted(12))), false);
});

test('compiles what it cannot parse with certainty', async () => {
  assert.equal(await reaches('#pragma GCC diagnostic push', '#pragma GCC optimize("O1")'), true);
  assert.equal(await reaches('union both {', 'asm(".globl x");\nunion both {'), true);
  assert.equal(await reaches('enum state {', 'enum { EXTRA } extra_variable;\nenum state {'), true);
});

test('counts a record that moves nothing only if the unit fills one by position', async () => {
  const proto = 'struct proto { void *f; char a; int b; };';
  const fresh = 'struct proto { void *f; char a; char fresh; int b; };';
  const use = 'int use(struct proto *p) { return p->b + sizeof(*p); } struct proto named = { .f = 0, .b = 1 };';
  const judged = (unit: string, known: Partial<UnmovedRecord> = {}): boolean => {
    const record = { before: proto, after: fresh, keepsOrder: false, ...known };
    return canChangeCode(`${proto} ${unit}`, `${fresh} ${unit}`, new Map([['proto', record]]));
  };
  assert.equal(canChangeCode(`${proto} ${use}`, `${fresh} ${use}`), true);
  assert.equal(judged(use), false);
  assert.equal(judged(`${use} struct proto other = { use, 1, 2 };`), true);
  assert.equal(judged(`${use} struct proto other = { use, 1, 2 };`, { keepsOrder: true }), false);
  // What is known is known of these very definitions.
  assert.equal(judged(use, { before: proto.replace('char', 'short') }), true);
  assert.equal(judged(use, { after: fresh.replace('char fresh', 'bool fresh') }), true);
  // All else counts as ever.
  const inline = (value: number): string =>
    `static inline int one(void) { return ${value}; } int two(void) { return one(); }`;
  const both = new Map([['proto', { before: proto, after: fresh, keepsOrder: true }]]);
  assert.equal(canChangeCode(`${proto} ${inline(1)}`, `${fresh} ${inline(2)}`, both), true);
});
