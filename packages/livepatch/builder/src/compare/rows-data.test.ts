import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf, codesOf, extractOf, sectionNamed, summary, targetsOf } from '../testing/fixture.ts';

/**
 * Strings, constants and variables: what belongs to a function, what is the running kernel's, and what belongs to no
 * function in particular.
 */

test('compares strings by content, in code, in tables of texts and with a common end', async () => {
  const before = `static const char *const words[] = { "one", "two" };
    const char *word(int a) { return words[a]; } const char *end(void) { return "a longer text"; } const char *part(void) { return "text"; }`;
  const shifted = `const char *fresh(void) { return "another longer text"; } ${before}`;
  assert.deepEqual(summary(await changeOf(before, shifted)), [[], ['fresh'], []]);
  const { change, file } = await extractOf(before, before.replace('"two"', '"second"'));
  assert.deepEqual(summary(change), [['word'], ['words'], []]);
  const texts = file.sections.filter(({ name }) => name.startsWith('.rodata.')).map(({ data }) => Buffer.from(data));
  const kept = Buffer.concat(texts)
    .toString('latin1')
    .split('\0')
    .filter((text) => text !== '');
  assert.deepEqual(kept.sort(), ['one', 'second']);
});

const SWITCH = `
int use(int); int other(int);
int changed(int a) { switch (a) { case 0: return use(1); case 1: return other(7); case 2: return use(5); case 3: return use(a) + 1;
	case 4: return other(2); case 5: return use(9) - a; case 6: return other(a); } return 3; }
int above(int a) { return changed(a); }
`;

test('includes the jump table of a switch statement with its function, leading into the new code', async () => {
  const edited = SWITCH.replace('use(5)', 'use(6)');
  const plain = await extractOf(SWITCH, edited);
  assert.deepEqual(summary(plain.change), [['changed'], [], []]);
  const { change, file, needs } = await extractOf(SWITCH, edited, ['-fjump-tables']);
  assert.deepEqual(summary(change), [['changed'], [], []]);
  const table = file.sections.find(({ name }) => name.startsWith('.rodata'));
  assert.deepEqual(targetsOf(table), new Array(7).fill('.text.changed'));
  assert.ok(!needs.some(({ name }) => name === 'changed'));
  // Two labels that change places: the same bytes, another table.
  const swapped = SWITCH.replace('case 0:', 'case 9:').replace('case 1:', 'case 0:').replace('case 9:', 'case 1:');
  assert.deepEqual(summary(await changeOf(SWITCH, swapped, ['-fjump-tables']))[0], ['changed']);
});

test('.rodata.cst*: shares constants of a size between the functions of a unit, as copies', async () => {
  const before = 'double first(double a) { return a * 1.5; } double second(double a) { return a * 2.5 + 7.25; }';
  const { change, file } = await extractOf(before, before.replace('7.25', '8.25'), ['-mhard-float']);
  assert.deepEqual(summary(change), [['second'], [], []]);
  const constants = sectionNamed(file, '.rodata.cst8');
  assert.deepEqual([...new Float64Array(constants?.data.slice().buffer ?? new ArrayBuffer(0))].sort(), [2.5, 8.25]);
  const more = `double zero(double a) { return a * 9.5; } ${before}`;
  assert.deepEqual(summary(await changeOf(before, more)), [[], ['zero'], []]);
});

test('CSWTCH: includes the table of a switch with its function', async () => {
  const before = `int changed(int a) { switch (a) { case 0: return 17; case 1: return 4; case 2: return 99; case 3: return -5; case 4: return 66; } return 0; }
    int other(int a) { switch (a) { case 0: return 7; case 1: return 5; case 2: return 3; case 3: return -1; case 4: return 11; } return 1; }`;
  const { change, file, needs } = await extractOf(before, before.replace('99', '98'));
  assert.deepEqual(summary(change), [['changed'], [], []]);
  const tables = file.symbols.filter(({ name }) => name.startsWith('CSWTCH'));
  assert.equal(tables.length, 1);
  assert.ok(!needs.some(({ name }) => name.startsWith('CSWTCH')));
});

/** Each of these stands for a use of a macro of the kernel; the number in its name is the compiler's. */
const OWN_COPIES: readonly (readonly [name: string, use: string])[] = [
  ['__key', 'static struct { int key; } __key; keep(&__key);'],
  ['__warned', 'static unsigned char __warned; if (!__warned) { __warned = 1; keep(&shared); }'],
  [
    '__already_done',
    'static unsigned char __already_done; if (!__already_done) { __already_done = 1; keep(&shared); }',
  ],
  ['.data..once', 'static unsigned char __section(".data..once") done; if (!done) { done = 1; keep(&shared); }'],
  ['.data.once', 'static unsigned char __section(".data.once") done; if (!done) { done = 1; keep(&shared); }'],
  ['_rs', 'static struct { int interval, burst; } _rs = { 5000, 10 }; keep(&_rs);'],
  ['__func__', 'keep(__func__);'],
  ['__FUNCTION__', 'keep(__FUNCTION__);'],
  ['_entry', 'static const struct { const char *format; int line; } _entry = { "text", 7 }; keep(&_entry);'],
  ['__UNIQUE_ID_', 'static int __UNIQUE_ID_thing7 = 3; keep(&__UNIQUE_ID_thing7);'],
  ['__print_once', 'static int __print_once; if (!__print_once) { __print_once = 1; keep(&shared); }'],
  ['__flags', 'static const struct { long mask; const char *name; } __flags[] = { { 1, "one" } }; keep(__flags);'],
];

for (const [name, use] of OWN_COPIES) {
  test(`never pairs ${name}`, async () => {
    const unit = (first: string, more = ''): string =>
      `int shared; void keep(const void *);\n${first}\nint changed(int a) { ${use} return a; }\nint below(int a) { ${use}${more} return a * 2; }\n`;
    const before = unit('');
    // A use more in front: the compiler numbers the others anew.
    const shifted = unit(`int fresh(int a) { ${use} return a; }`);
    assert.deepEqual(summary(await changeOf(before, shifted)), [[], ['fresh'], []]);
    // One less: nothing is lost.
    assert.deepEqual(codesOf(await changeOf(shifted, before)), []);
    // The livepatch has its own, and asks the kernel for none.
    const { change, needs } = await extractOf(before, before.replace('return a;', 'return a + 1;'));
    assert.deepEqual(summary(change), [['changed'], [], []]);
    assert.deepEqual(
      needs.map((need) => need.name).filter((needed) => needed !== 'keep' && needed !== 'shared'),
      ['__fentry__'],
    );
  });
}

test("compares UBSAN's nameless data by content", async () => {
  const flags = ['-fsanitize=shift,bounds'];
  const before = 'int table[8]; int changed(int a) { return table[a] << a; }\nint below(int a) { return 3 << a; }\n';
  const shifted = `int zero(int a) { return 1 << a; }\n#line 1\n${before}`;
  const marked = (text: string): string => `#line 1 "a/unit.c"\n${text}`;
  const grown = await changeOf(marked(before), marked(shifted), flags);
  assert.deepEqual(summary(grown), [[], ['zero', 'zero.cold'], []]);
  const { change, needs } = await extractOf(
    marked(before),
    marked(before.replace('table[a] << a', 'table[a] << (a + 1)')),
    flags,
  );
  assert.deepEqual(summary(change), [['changed'], [], []]);
  assert.deepEqual(
    needs.map(({ name }) => name).filter((name) => name.includes('ubsan_data')),
    [],
  );
});

test('keeps a static variable of a function in the running kernel', async () => {
  const before = `int shared; int one(int a) { static int seen; return seen += a; } int two(int a) { static int seen = 1; return seen *= a; }`;
  const { change, file, needs } = await extractOf(before, before.replace('seen *= a', 'seen -= a'));
  assert.deepEqual(summary(change), [['two'], [], []]);
  const state = needs.find(({ name }) => name.startsWith('seen'));
  assert.equal(state?.original?.section.name, `.data.${state?.name}`);
  assert.deepEqual(
    file.sections.filter(({ name }) => /^\.(?:data|bss)/.test(name)).map(({ name }) => name),
    [],
  );
  const dropped = await changeOf(before, before.replace('static int seen = 1; return seen *= a', 'return shared * a'));
  assert.deepEqual(codesOf(dropped), ['static-local-removed']);
  const added = await changeOf(
    before,
    before.replace('return seen *= a', 'static int more; return seen *= a + more++'),
  );
  assert.deepEqual(codesOf(added), ['static-local-added?']);
});

const PERCPU = '__section(".data..percpu")';

test('refuses a changed per-cpu variable, and leaves a new one to the loader', async () => {
  const before = `${PERCPU} int load = 3; int changed(int a) { return a + load; }`;
  assert.deepEqual(codesOf(await changeOf(before, before.replace('load = 3', 'load = 4'))), ['percpu-changed']);
  for (const suffix of ['', '..shared_aligned', '..read_mostly']) {
    const fresh = PERCPU.replace('percpu"', `percpu${suffix}"`);
    const after = before.replace(
      'int changed(int a) { return a',
      `static ${fresh} long own = 8; int changed(int a) { return a + own++`,
    );
    const { change, file, needs } = await extractOf(before, after);
    assert.deepEqual(summary(change), [['changed'], ['own'], []]);
    // The name by which the loader of modules finds it.
    assert.equal(sectionNamed(file, '.data..percpu')?.data[0], 8);
    assert.deepEqual(needs.map(({ name }) => name).sort(), ['__fentry__', 'load']);
  }
});

test('refuses a changed initial value of live data', async () => {
  const before = `static int level = 4; struct operations { int (*run)(int); int flags; };
    int get(int a) { return a + level; } int set(int a) { return level = a; }
    static const struct operations operations = { get, 1 }; const void *find(void) { return &operations; }`;
  assert.deepEqual(codesOf(await changeOf(before, before.replace('level = 4', 'level = 5'))), ['data-changed']);
  assert.deepEqual(codesOf(await changeOf(before, before.replace('{ get, 1 }', '{ get, 2 }'))), ['constant-changed']);
  assert.deepEqual(codesOf(await changeOf(before, before.replace('{ get, 1 }', '{ set, 1 }'))), ['constant-changed']);
});
