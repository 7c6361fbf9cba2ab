import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STT_FILE } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import { ObjectView } from '../object/view.ts';
import { codesOf } from '../testing/fixture.ts';
import { elfOf, linkedOf } from '../testing/gcc.ts';
import { compareUnit, type UnitChange } from './compare.ts';

/**
 * Whose live state a variable of the new code is: that of the running kernel's functions named here, `new`, or
 * `unclear`.
 */

interface Compared {
  readonly change: UnitChange;
  readonly codes: readonly string[];
  readonly original: ObjectView;
  readonly patched: ObjectView;
  /**
   * For each variable that a new function uses, in the order of first use, the old functions that use the state it is
   * bound to.
   */
  readonly stateOf: (name: string) => readonly string[];
}

function compare(original: ObjectView, patched: ObjectView): Compared {
  const change = compareUnit({ source: 'a/unit.c', object: 'vmlinux' }, original, patched);
  const { same, ambiguous } = change.evidence.correlation;
  const usedBy = (view: ObjectView, name: string) => {
    const users = view.functions.filter(({ symbol }) => symbol?.name.split('.')[0] === name);
    assert.ok(users.length > 0, `there is no function ${name}`);
    const targets = users.flatMap((user) => view.referencesIn(user).map(({ target }) => target.atom));
    return [...new Set(targets)].filter((atom) => atom?.kind === 'data');
  };
  const usersOf = (atom: unknown): string => {
    const users = original.functions.filter((user) =>
      original.referencesIn(user).some(({ target }) => target.atom === atom),
    );
    return [...new Set(users.map(({ symbol }) => symbol?.name.split('.')[0]))].sort().join('+');
  };
  const stateOf = (name: string): string[] =>
    usedBy(patched, name).map((atom) => {
      if (atom === undefined) return '';
      const counterpart = same.get(atom);
      if (counterpart !== undefined) return usersOf(counterpart);
      return ambiguous.has(atom) ? 'unclear' : 'new';
    });
  return { change, codes: codesOf(change), original, patched, stateOf };
}

async function compareTexts(before: string, after: string, flags: readonly string[] = ['-g']): Promise<Compared> {
  const [original, patched] = await Promise.all([elfOf(before, flags), elfOf(after, flags)]);
  return compare(new ObjectView(original, new Map()), new ObjectView(patched, new Map()));
}

const lines = (...parts: string[]): string => `int use(int);\n${parts.join('\n')}\n`;

test('does not pair a new static variable with a removed one of another function', async () => {
  const first = (body: string): string => `int first(int a) { ${body} return use(a); }`;
  const second = (body: string): string => `int second(int a) { ${body} return use(a + 1); }`;
  const counter = 'static unsigned int counter; a += counter++;';
  const { codes, stateOf } = await compareTexts(lines(first(counter), second('')), lines(first(''), second(counter)));
  assert.deepEqual(stateOf('second'), ['new']);
  assert.deepEqual(codes, ['static-local-added?', 'static-local-removed']);
});

test('reports the static variable of a renamed function as removed and added', async () => {
  const named = (name: string): string => `int ${name}(int a) { static int n; return use(a + n++); }`;
  const { codes, stateOf } = await compareTexts(lines(named('first')), lines(named('second')));
  assert.deepEqual([stateOf('second'), codes], [['new'], ['static-local-added?', 'static-local-removed']]);
});

for (const flags of [['-g'], ['-gdwarf-4'], []]) {
  test(`never pairs a variable of the file with one of a function (${flags.join() || 'no debug information'})`, async () => {
    const file = lines('static int n; int first(int a) { return use(a + n++); } int second(int a) { return a; }');
    const inside = lines(
      'int first(int a) { return use(a); } int second(int a) { static int n; return use(a + n++); }',
    );
    const moved = await compareTexts(file, inside, flags);
    assert.deepEqual([moved.stateOf('second'), moved.codes], [['unclear'], ['static-local-ambiguous']]);
    const back = await compareTexts(inside, file, flags);
    assert.deepEqual([back.stateOf('first'), back.codes], [['unclear'], ['static-local-ambiguous']]);
  });
}

test('keeps a function’s file-level state where a static variable of that name appears elsewhere', async () => {
  const before = lines('static int n; int first(int a) { return use(a + n++); } int second(int a) { return use(a); }');
  const after = before
    .replace('{ return use(a);', '{ static int n; return use(a + n++);')
    .replace('n++); } int', 'n--); } int');
  const { codes, stateOf } = await compareTexts(before, after);
  assert.deepEqual([stateOf('first'), stateOf('second'), codes], [['first'], ['new'], ['static-local-added?']]);
});

test('pairs static variables of two blocks correctly in any compiler order', async () => {
  const before = lines(
    'int first(int a) { static int n; if (a > 3) { static int n; a += use(n--); } else a = use(n++); return a; }',
  );
  // The compiler turns the branches round; the variables have one place each.
  const turned = await compareTexts(before, before.replace('a > 3', '__builtin_expect(a > 3, 0)'));
  assert.deepEqual([turned.stateOf('first'), turned.codes], [['first', 'first'], []]);
  for (const [after, old] of turned.change.same) {
    if (after.kind !== 'data') continue;
    assert.equal(stepOf(turned.patched, after), stepOf(turned.original, old));
  }
  const exchanged = await compareTexts(
    lines(
      'int first(int a) { if (a > 3) { static int n; a += use(n--); } else { static int n; a = use(n++); } return a; }',
    ),
    lines(
      'int first(int a) { if (a <= 3) { static int n; a = use(n++); } else { static int n; a += use(n--); } return a * 2; }',
    ),
  );
  assert.deepEqual(
    [exchanged.stateOf('first'), new Set(exchanged.codes)],
    [['unclear', 'unclear'], new Set(['static-local-ambiguous'])],
  );
});

test('refuses static variables of one name in blocks of a changed function', async () => {
  const one = '{ static int n; a += n++; }';
  const two = '{ static int n; a -= n++; }';
  const unit = (...blocks: string[]): string => lines('int first(int a) {', ...blocks, 'return use(a); }');
  const cases: [string, string][] = [
    [unit(one, two), unit(two, one)],
    [unit(one, two), unit(one, two, one)],
    [unit(one, two), unit('{ static int n; a ^= n++; }', one, two)],
    [unit(one, two), unit(one)],
    [unit(one, two), unit(two)],
    [unit(one), unit(two, one)],
    [unit(one), unit('a++;', 'if (a < 0)', two)],
    [unit(one), unit('{ int b = use(a);', one, 'a += b; }', two)],
  ];
  for (const [before, after] of cases) {
    const { codes, stateOf } = await compareTexts(before, after);
    assert.ok(codes.includes('static-local-ambiguous'), `${after}: ${codes}`);
    assert.ok(
      stateOf('first').every((state) => state === 'unclear'),
      after,
    );
  }
});

test('pairs a static variable of a block where it is declared at the same place', async () => {
  const before = lines('int first(int a) {', 'if (a > 3) { static int n; a += n++; }', 'return use(a); }');
  const { codes, stateOf } = await compareTexts(before, before.replace('a > 3', 'a > 4'));
  assert.deepEqual([stateOf('first'), codes], [['first'], []]);
  // What is above the function does not matter.
  const below = await compareTexts(before, before.replace('a > 3', 'a > 4').replace('int first', '\n\nint first'));
  assert.deepEqual([below.stateOf('first'), below.codes], [['first'], []]);
  // In its function's outermost scope it may be anywhere.
  const outer = lines('int first(int a) { static int n; if (a > 3) a += n++; return use(a); }');
  const moved = await compareTexts(outer, outer.replace('static', 'if (a > 9) return 0; static'));
  assert.deepEqual([moved.stateOf('first'), moved.codes], [['first'], []]);
});

test('tells equal blocks apart by code that did not change', async () => {
  const blocks = 'int first(int a) { { static int n; a += n++; } { static int n; a -= n++; } return use(a); }';
  const before = lines('int zero(int a) { static int n; return n += a; }', blocks);
  const { change, codes } = await compareTexts(before, lines(blocks));
  assert.deepEqual([change.changed.size, codes], [0, ['static-local-removed']]);
});

test('pairs a static variable of an inline function as one, whatever it is inlined into', async () => {
  const before = lines(
    'static inline __attribute__((always_inline)) int next(int a) { static int n; return a + n++; }',
    'int first(int a) { return use(next(a)); }',
    'int second(int a) { static int n; return use(next(a) + n++); }',
  );
  const shared = await compareTexts(before, before.replace('use(next(a) + n++)', 'use(n++ + next(a) * 2)'));
  assert.deepEqual(shared.stateOf('second').toSorted(), ['first+second', 'second']);
  assert.deepEqual(
    [...shared.change.changed.keys()].map(({ key }) => key),
    ['second'],
  );
  assert.deepEqual(shared.codes, []);
  // The inline function's goes, and a caller has one of its own: another.
  const own = before
    .replace('static int n; return a + n++;', 'return a;')
    .replace('use(next(a)); }', 'use(a); }')
    .replace('static int n; return use(next(a) + n++)', 'static int n; return use(n--)');
  const gone = await compareTexts(before, own);
  assert.deepEqual([gone.stateOf('second'), gone.codes], [['second'], ['static-local-removed']]);
  const moved = await compareTexts(
    before.replace('static int n; return use(next(a) + n++)', 'return use(next(a))'),
    own,
  );
  assert.deepEqual(moved.stateOf('second'), ['new']);
  assert.deepEqual(moved.codes, ['static-local-added?', 'static-local-removed']);
});

/** What gcc makes of `work` is asserted, so that the row shows what it says. */
const CLONES: readonly (readonly [name: string, flags: readonly string[], text: string])[] = [
  [
    'part',
    [],
    `int calls(int *, int);
static int work(int *p) { static int n; if (!p) return 0; n++; calls(p, 1); calls(p, 2); calls(p, 3); calls(p, 4); return calls(p, n); }
int one(int *p) { return work(p) + 1; }
int two(int *p) { static int n; return work(p) + n++; }`,
  ],
  [
    'constprop',
    ['-fipa-cp-clone', '-O3'],
    `int calls(int *, int); int shared;
static __attribute__((noinline)) int work(int *p, int by) { static int n; int i; for (i = 0; i < by; i++) shared += calls(p, by * 3) + n++; calls(p, 4); return shared; }
int one(int *p) { return work(p, 100) + work(p, 100); }
int two(int *p) { static int n; return work(p, 77) + work(p, 77) + n++; }`,
  ],
  [
    'isra',
    [],
    `int calls(int *, int); struct pair { int a, b; };
static __attribute__((noinline)) int work(struct pair *p) { static int n; int a = p->a; n++; calls(0, 4); return calls(0, a) + n; }
int one(struct pair *p) { return work(p) + 1; }
int two(struct pair *p) { static int n; return work(p) + n++; }`,
  ],
  [
    'cold',
    [],
    `int calls(int *, int); __attribute__((cold)) void bad(int);
__attribute__((noinline)) int work(int *p) { static int n; if (!p) { bad(n++); bad(2); n--; } calls(p, 4); return calls(p, 9); }
int one(int *p) { return work(p) + 1; }
int two(int *p) { static int n; return work(p) + n++; }`,
  ],
];

for (const [suffix, flags, text] of CLONES) {
  test(`.${suffix}: assigns a static variable to the function of the source`, async () => {
    const one = 'int one(';
    // One more in front: all are numbered anew.
    const after = text
      .replace(one, `int zero(int a) { static int n; return n += a; }\n${one}`)
      .replace('return work(p) + n++', 'return n-- - work(p)')
      .replace('work(p, 77) + n++', 'work(p, 77) - n--')
      .replace(/\((p|0), 4\)/, '($1, 5)');
    const { change, codes, stateOf } = await compareTexts(text, after, ['-g', ...flags]);
    assert.deepEqual(codes, ['static-local-added?']);
    const made = [...change.same.keys()].map(({ symbol }) => symbol?.name ?? '');
    assert.ok(
      made.some((name) => name.startsWith(`work.${suffix}`)),
      made.join(),
    );
    assert.equal(stateOf('zero')[0], 'new');
    assert.ok(stateOf('two').includes('two'), stateOf('two').join());
    const counted = made.filter((name) => /^n\.\d+$/.test(name));
    assert.equal(counted.length, 2);
    assert.ok(
      stateOf('work').some((state) => state.split('+').includes('work')),
      stateOf('work').join(),
    );
  });
}

test('does not silently pair a variable with another type or size', async () => {
  const typed = (type: string): string => lines(`int first(int a) { static ${type} n; return use(a + (int)(n++)); }`);
  assert.deepEqual((await compareTexts(typed('int'), typed('long'))).codes, ['data-changed']);
  const nested = (type: string): string =>
    typed(type).replace('static', '{ static').replace('n++', 'n++ / 3').replace('; }', '; } }');
  assert.deepEqual((await compareTexts(nested('int'), nested('unsigned'))).codes, ['static-local-ambiguous']);
});

test("reads the function from clang's names", async () => {
  const unit = (first: string, second: string): string =>
    lines(`int first(int a) { ${first} return use(a); }`, `int second(int a) { ${second} return use(a + 1); }`);
  const own = (name: string): string => `static int n __asm__("${name}"); a += n++;`;
  const moved = await compareTexts(unit(own('first.n'), ''), unit('', own('second.n')));
  assert.deepEqual([moved.stateOf('second'), moved.codes], [['new'], ['static-local-added?', 'static-local-removed']]);
  const kept = await compareTexts(unit(own('first.n'), ''), unit(own('first.n').replace('++', '--'), ''));
  assert.deepEqual([kept.stateOf('first'), kept.codes], [['first'], []]);
});

test('assigns literals of the file to the variable that leads to them', async () => {
  const unit = (...names: string[]): string =>
    lines(
      'struct state { int n; };',
      ...names.map(
        (name) =>
          `struct state *${name} = &(struct state){ 0 }; int get_${name}(int a) { return use(a + ${name}->n++); }`,
      ),
    );
  const literals = ({ change }: Compared): number =>
    [...change.same.keys()].filter(({ key }) => key.startsWith('__compound_literal')).length;
  const replaced = await compareTexts(unit('one'), unit('two'));
  assert.equal(literals(replaced), 0);
  const shifted = await compareTexts(unit('one', 'two'), unit('zero', 'one', 'two'));
  assert.deepEqual([literals(shifted), shifted.codes.includes('data-changed')], [2, false]);
});

test('copies tables of functions, wherever else one of that name came or went', async () => {
  const unit = (first: string, second: string): string =>
    lines(`int first(int a) { ${first} return use(a); }`, `int second(int a) { ${second} return use(a + 1); }`);
  const table = (more: number): string => `static const int table[] = { 5, 3, 9, ${more} }; a += table[a & 3];`;
  const { change, codes } = await compareTexts(unit(table(1), ''), unit('', table(1)));
  assert.deepEqual(codes, []);
  assert.deepEqual([...change.changed.keys()].map(({ key }) => key).sort(), ['first', 'second']);
  assert.ok(![...change.same.keys()].some(({ key }) => key.startsWith('table')));
});

test('tells statics apart only by code that did not change if there is no debug information', async () => {
  const before = lines(
    'int first(int a) { static int n; return use(a + n++); }',
    'int second(int a) { static int n; return use(a - n++); }',
  );
  const shifted = before.replace('int first', 'int zero(int a) { static int n; return n += a; }\nint first');
  const same = await compareTexts(before, shifted, []);
  assert.deepEqual(
    [same.stateOf('first'), same.stateOf('second'), same.codes],
    [['first'], ['second'], ['static-local-added?']],
  );
  const changed = await compareTexts(before, before.replace('a - n++', 'a * n++'), []);
  assert.deepEqual([changed.stateOf('first'), changed.stateOf('second')], [['first'], ['unclear']]);
  assert.deepEqual(changed.codes, ['static-local-ambiguous']);
  assert.match(changed.change.reasons[0]?.message ?? '', /compile with -g/);
});

for (const flags of [['-g'], []]) {
  test(`separates the statics of several files of one module (${flags.join() || 'no debug information'})`, async () => {
    const file = (name: string, body: string): string =>
      `int use(int); static int state; static __attribute__((noinline)) int step(int a) { return use(a + state++); } int ${name}(int a) { ${body} }`;
    const link = async (...texts: [string, string][]): Promise<ObjectView> =>
      new ObjectView(await linkedOf(texts, flags), new Map());
    const [one, two] = [file('one', 'return step(a) + 1;'), file('two', 'return step(a) + 2;')];
    const original = await link(['one.c', one], ['two.c', two]);
    // Linked the other way round, and one of them changed.
    const swapped = compare(original, await link(['two.c', two.replace('state++', 'state--')], ['one.c', one]));
    assert.deepEqual(swapped.codes, []);
    assert.equal(swapped.change.changed.size, 1);
    for (const [after, before] of swapped.change.same) {
      if (after.symbol?.name !== 'state') continue;
      assert.equal(fileOf(swapped.patched, after), fileOf(swapped.original, before));
    }
    // Of the one file it goes, in the other it comes.
    const plain = (name: string): string => `int use(int); int ${name}(int a) { return use(a); }`;
    const first = await link(['one.c', one], ['two.c', plain('two')]);
    const second = await link(['one.c', plain('one')], ['two.c', two]);
    assert.ok(![...compare(first, second).change.same.keys()].some(({ symbol }) => symbol?.name === 'state'));
  });
}

test('distinguishes files of a stripped module by the functions and variables that lead there', async () => {
  const file = (name: string, body: string): string =>
    `int use(int); static int state; static int held; int *hold_${name} = &held; int ${name}(int a) { ${body} return use(a + state++); }`;
  const link = async (...texts: [string, string][]): Promise<ObjectView> => {
    const whole = await linkedOf(texts, []);
    whole.symbols = whole.symbols.filter(({ type }) => type !== STT_FILE);
    return new ObjectView(whole, new Map());
  };
  const original = await link(['one.c', file('one', '')], ['two.c', file('two', '')]);
  const swapped = compare(original, await link(['two.c', file('two', 'a++;')], ['one.c', file('one', '')]));
  assert.deepEqual([swapped.stateOf('one'), swapped.stateOf('two'), swapped.codes], [['one'], ['two'], []]);
  const pairs = [...swapped.change.same].filter(([{ kind }]) => kind === 'data');
  assert.equal(pairs.length, 6);
  for (const [after, before] of pairs) {
    if (after.symbol?.name === 'held') assert.equal(after.start === 0, before.start !== 0);
  }
  assert.deepEqual(
    [...swapped.change.changed.keys()].map(({ key }) => key),
    ['two'],
  );
});

/** The file that a variable of the fixture is of, by the function of it that uses it. */
function fileOf(view: ObjectView, atom: Atom): string | undefined {
  const userOf = (used: Atom | undefined): Atom | undefined =>
    view.functions.find((user) => view.referencesIn(user).some(({ target }) => target.atom === used));
  return userOf(userOf(atom))?.symbol?.name;
}

/** What the fixture does to a variable, as the byte of its instruction's code that says so: /0 adds, /5 subtracts. */
function stepOf(view: ObjectView, atom: Atom): string {
  const uses = view.functions.flatMap((user) => view.referencesIn(user).map((reference) => ({ user, reference })));
  const operations = uses
    .filter(({ reference }) => reference.target.atom === atom)
    .map(({ user, reference: { offset } }) =>
      Buffer.from(user.section.data.subarray(offset - 2, offset)).toString('hex'),
    );
  return operations.sort().join();
}
