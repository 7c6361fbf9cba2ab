import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDwarf } from '../dwarf/index.ts';
import { elfOf } from '../testing/gcc.ts';
import type { Reason } from '../types.ts';
import { checkTypes, compareTypes } from './types.ts';

const SOURCE = 'fs/unit.c';

/** A header of its own, so that what it declares is not the unit's own; `#line` as the builder has it. */
function unit(header: string, body: string): string {
  return `#line 1 "include/linux/unit.h"\n${header}\n#line 1 "${SOURCE}"\n${body}\n`;
}

async function compare(
  before: string,
  after: string,
  changed: string[],
  more: { added?: string[]; headers?: string[] } = {},
): Promise<Reason[]> {
  const [original, patched] = [readDwarf(await elfOf(before, ['-g'])), readDwarf(await elfOf(after, ['-g']))];
  assert.ok(original !== undefined && patched !== undefined);
  return compareTypes(SOURCE, original, patched, { changed, added: [], ...more });
}

const verdicts = (reasons: readonly Reason[]): string[][] =>
  reasons.map(({ code, verdict, symbol }) => [code, verdict, symbol ?? '']).sort();
const message = ([reason]: readonly Reason[]): string => reason?.message ?? '';

const LAYOUT = 'type-layout-changed';
const HEADER = `
struct inner { int a; int b; };
struct pad { short first; long last; };
struct conn { int id; void *data; union { int small; long large; }; unsigned flags : 3; unsigned mode : 5; struct inner in; struct conn *next; char name[8]; };
struct holder { char tag; struct conn conn; int tail; };
struct table { int (*open)(struct conn *); };
`;
const BODY = `
void touch(void *);
static struct conn *all;
int use(struct conn *c) { touch(c); return c->id; }
int walk(struct holder *h) { touch(h); return h->tail; }
int pads(struct pad *p) { touch(p); return p->first; }
int none(int a) { touch(&a); return a; }
int last(void) { return all->id; }
`;
const BASE = unit(HEADER, BODY);

/** Compares the base with an edit of it. */
async function edit(from: string, to: string, ...functions: string[]): Promise<Reason[]> {
  const after = BASE.replaceAll(from, to);
  assert.notEqual(after, BASE);
  return await compare(BASE, after, functions);
}

test('gives no reason for a unit against itself, and for one whose functions stay', async () => {
  assert.deepEqual(await compare(BASE, BASE, ['use', 'walk', 'none']), []);
  assert.deepEqual(await edit('int id;', 'long id;'), []);
});

test('refuses an added member with its place, the sizes, what holds the struct, and the functions with their path', async () => {
  const reasons = await edit('char name[8];', 'char name[8]; long refs;', 'use', 'walk');
  assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'struct conn']]);
  assert.match(
    message(reasons),
    /^struct conn changes: size 56 -> 64; member refs added at 56; with it struct holder,/,
  );
  assert.match(message(reasons), /use \(c: struct conn \*\)/);
  assert.match(message(reasons), /walk \(h: struct holder \* -> conn: struct conn\)/);
  assert.equal(reasons[0]?.source, SOURCE);
});

test('refuses an added member even if it fits into padding', async () => {
  const reasons = await edit('short first;', 'short first; int more;', 'pads');
  assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'struct pad']]);
  assert.match(message(reasons), /changes: member more added at 4; live objects/);
});

test('distinguishes removed, moved, resized and retyped members, also in unions and bit-fields', async () => {
  for (const [from, to, text] of [
    ['void *data; union', 'union', /size 56 -> 48; .*member data removed at 8/],
    ['int id; void *data;', 'void *data; int id;', /member data moved from 8 to 0; member id moved from 0 to 8/],
    [
      'unsigned flags : 3; unsigned mode : 5;',
      'unsigned flags : 4; unsigned mode : 4;',
      /flags at 24: 3 -> 4 bits; member mode moved from 24 bit 3 to 24 bit 4;/,
    ],
    ['long large;', 'double large;', /member large at 16: long int -> double/],
    ['struct conn *next;', 'struct inner *next;', /member next at 40: struct conn \* -> struct inner \*/],
    ['char name[8];', 'char name[7];', /changes: member name at 48: char \[8\] -> char \[7\]/],
    ['int small; long large;', 'int small; long large; short tiny;', /member tiny added at 16/],
  ] as const) {
    const reasons = await edit(from, to, 'use');
    assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'struct conn']], to);
    assert.match(message(reasons), text);
  }
});

test('compares function pointers by their parameters', async () => {
  const body = 'void *use(struct table *t) { return t->open; }';
  const after = HEADER.replace('(*open)(struct conn *)', '(*open)(struct conn *, int)');
  const reasons = await compare(unit(HEADER, body), unit(after, body), ['use']);
  assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'struct table']]);
  assert.match(message(reasons), /open at 0: int \(struct conn \*\) \* -> int \(struct conn \*, int\) \*/);
});

test('asks for a review of members that mean something else in the same place', async () => {
  for (const [from, to, text] of [
    ['int id;', 'unsigned id;', /id at 0: int -> unsigned int/],
    ['void *data;', 'struct inner *data;', /data at 8: void \* -> struct inner \*/],
    ['char name[8];', 'char label[8];', /member name at 48 is now called label/],
  ] as const) {
    const reasons = await edit(from, to, 'use', 'walk', 'last');
    // The functions must still compile.
    assert.deepEqual(verdicts(reasons), [['type-layout-review', 'needs-review', 'struct conn']], to);
    assert.match(message(reasons), text);
  }
});

test('ignores typedefs, qualifiers, open bounds and a second name for the same place', async () => {
  for (const [from, to] of [
    ['struct inner { int a; int b; };', 'typedef const int number; struct inner { number a; volatile int b; };'],
    ['union { int small; long large; };', 'union { int small; long large; struct { long large; } group; };'],
    ['struct inner in;', 'union { struct inner in; struct {} mark; };'],
  ] as const) {
    assert.deepEqual(await edit(from, to, 'use', 'walk'), [], to);
  }
  const bounds = (text: string): string =>
    unit(`struct list { int count; int items[${text}]; };`, 'int use(struct list *l) { return l->items[l->count]; }');
  assert.deepEqual(await compare(bounds('0'), bounds(''), ['use']), []);
});

test('asks for a review of a changed struct that no function visibly touches', async () => {
  const reasons = await edit('short first;', 'short first; int more;', 'none');
  assert.deepEqual(verdicts(reasons), [['type-layout-review', 'needs-review', 'struct pad']]);
  assert.match(message(reasons), /no function of the livepatch is seen to touch it/);
});

test('counts variables that only the code refers to, results of called functions and inlined functions', async () => {
  const header = 'struct conf { int limit; }; struct conf conf; struct conf *find(int); void take(int);';
  for (const [body, way] of [
    ['int use(void) { return conf.limit; }', /use \(conf: struct conf\)/],
    ['int use(void) { return find(1)->limit; }', /use \(find\(\): struct conf \*\)/],
    [
      'static inline int get(void *p) { struct conf *c = p; take(c->limit); return c->limit; } int use(void *p) { return get(p); }',
      /use \(c: struct conf \*\)/,
    ],
    [
      'static inline struct conf *of(void *p) { take(1); return p; } int use(void *p) { return of(p)->limit; }',
      /use \(its result: struct conf \*\)/,
    ],
    ['int use(void *p) { if (p) { struct conf *in = p; take(in->limit); } return 0; }', /use \(in: struct conf \*\)/],
  ] as const) {
    const reasons = await compare(
      unit(header, body),
      unit(header.replace('int limit;', 'int limit; int more;'), body),
      ['use'],
    );
    assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'struct conf']], body);
    assert.match(message(reasons), way);
  }
});

test('asks for a review of a struct that only the livepatch knows, and refuses others', async () => {
  const local = 'struct walk { int depth; };';
  const body = (struct: string, more: string): string =>
    `${struct} void go(void *); int use(int a) { struct walk w = { a }; go(&w); return w.depth; } ${more}`;
  const bigger = local.replace('int depth;', 'int depth; int width;');
  const changed = (more: string, functions = ['use']): Promise<Reason[]> =>
    compare(unit('', body(local, more)), unit('', body(bigger, more)), functions);
  const alone = await changed('');
  assert.deepEqual(verdicts(alone), [['type-layout-review', 'needs-review', 'struct walk']]);
  assert.match(message(alone), /only functions of the livepatch know the type/);
  for (const more of [
    'int other(struct walk *w) { return w->depth; }',
    'struct walk kept;',
    'struct list { struct walk *first; }; struct list kept;',
    'void out(struct walk *); void other(void) { out(0); }',
  ]) {
    assert.deepEqual(verdicts(await changed(more)), [[LAYOUT, 'refused', 'struct walk']], more);
  }
  // Another unit may include the header.
  const shared = await compare(unit(local, body('', '')), unit(bigger, body('', '')), ['use']);
  assert.deepEqual(verdicts(shared), [[LAYOUT, 'refused', 'struct walk']]);
});

test('asks for a review of a new struct behind an untyped pointer, where live objects have another one', async () => {
  const header = 'struct seq { void *private; }; void set(void *); struct state *make(void);';
  const state = 'struct state { long first; void *dev; };';
  const old = unit(header, 'int use(struct seq *s) { set(s->private); return 0; }');
  const changed = (body: string, types = state): Promise<Reason[]> =>
    compare(old, unit(header, `${types} ${body}`), ['use'], { added: ['get'] });
  const cast = await changed('int use(struct seq *s) { struct state *it = s->private; set(it->dev); return 0; }');
  assert.deepEqual(verdicts(cast), [['type-added', 'needs-review', 'struct state']]);
  assert.match(message(cast), /^struct state \(16 bytes\) is new, .*; used by use \(it: struct state \*\)$/);
  const inlined = `static struct state *get(struct seq *s) { set(s); return s->private; } int use(struct seq *s) { return get(s)->first; }`;
  assert.deepEqual(verdicts(await changed(inlined)), [['type-added', 'needs-review', 'struct state']]);
  // One that only another new one leads to has come with that one.
  const pair = 'struct state { struct part *part; }; struct part { struct state *whole; int a; };';
  const both = await changed('int use(struct seq *s) { struct state *it = s->private; return it->part->a; }', pair);
  assert.deepEqual(verdicts(both), [['type-added', 'needs-review', 'struct state']]);

  for (const given of [
    'int use(struct seq *s) { struct state it = { 1, s }; set(&it); return it.first; }',
    'static void get(void *p) { struct state *it = p; set(it->dev); } int use(struct seq *s) { struct state it = { 1, s }; set(get); get(&it); return 0; }',
    'static struct state all[4]; int use(struct seq *s) { struct state *it = &all[1]; set(it); return 0; }',
    'int use(struct seq *s) { struct state *it = make(); set(it->dev); return 0; }',
  ]) {
    assert.deepEqual(await changed(given), [], given);
  }
});

test('takes a struct of a header as new only if the fixes change that header', async () => {
  const header = 'struct seq { void *private; }; void set(void *);';
  const added = `${header} struct state { long first; };`;
  const before = 'int use(struct seq *s) { set(s); return 0; }';
  const after = 'int use(struct seq *s) { struct state *it = s->private; set(it); return it->first; }';
  assert.deepEqual(await compare(unit(added, before), unit(added, after), ['use']), []);
  const headers = ['include/linux/unit.h'];
  const found = await compare(unit(header, before), unit(added, after), ['use'], { headers });
  assert.deepEqual(verdicts(found), [['type-added', 'needs-review', 'struct state']]);
});

test('assigns compiled copies of a function to it by name', async () => {
  const reasons = await edit('char name[8];', 'char name[8]; long refs;', 'use.isra.0');
  assert.match(message(reasons), /touched by use \(/);
});

test('compares a struct without a tag by its typedef', async () => {
  const header = (member: string): string =>
    `typedef struct { int counter; ${member} } state_t; struct box { state_t s; };`;
  const body = 'int use(struct box *b) { return b->s.counter; }';
  const reasons = await compare(unit(header(''), body), unit(header('int more;'), body), ['use']);
  assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'state_t']]);
  assert.match(message(reasons), /with it struct box, of which it is a part/);
});

test('names members of anonymous structs by their path, also in arrays', async () => {
  const header = (member: string): string =>
    `struct set { struct { int a; ${member} } slots[2]; struct { int c; } one; };`;
  const body = 'int use(struct set *s) { return s->slots[1].a; }';
  const reasons = await compare(unit(header('int b;'), body), unit(header('char b[4];'), body), ['use']);
  assert.deepEqual(verdicts(reasons), [[LAYOUT, 'refused', 'struct set']]);
  assert.match(message(reasons), /changes: member slots\[\]\.b at 4: int -> char \[4\];/);
});

test('reports types as unchecked without debug information', async () => {
  const [bare, full] = [await elfOf(BASE), await elfOf(BASE, ['-g'])];
  for (const [before, after, which] of [
    [bare, full, 'original'],
    [full, bare, 'patched'],
  ] as const) {
    const reasons = checkTypes(SOURCE, before, after, { changed: ['use'], added: [] });
    assert.deepEqual(verdicts(reasons), [['types-unchecked', 'needs-review', '']]);
    assert.ok(message(reasons).includes(`of the ${which} object, it has no debug information`));
  }
  assert.deepEqual(checkTypes(SOURCE, bare, bare, { changed: [], added: [] }), []);
});
