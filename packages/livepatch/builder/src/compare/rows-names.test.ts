import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SHF_EXECINSTR, sectionOf } from '@kmend/elf';
import { changeOf, codesOf, extractOf, namesOf, sectionNamed, summary, targetsOf } from '../testing/fixture.ts';

/** What the compiler names and numbers: parts and copies of functions, and what stands in front of them. */

const COLD = `
int shared; __attribute__((cold)) void bad(int);
static noinline int inner(int a) { if (a < 0) { bad(a); bad(2); shared = 9; } printk("%d", a); printk("%d", shared); printk("%d", a); printk("%d", shared); return a + shared; }
int outer(int a) { if (a > 9) { bad(a); shared = 3; } return inner(a); }
`;

test('.cold: reports the function of a changed part, and includes the part with it', async () => {
  const { change, file, replacements } = await extractOf(COLD, COLD.replace('bad(2)', 'bad(3)'));
  assert.deepEqual(summary(change), [['inner'], [], []]);
  assert.deepEqual(
    replacements.map(({ originalName }) => originalName),
    ['inner'],
  );
  const names = file.symbols.filter((symbol) => sectionOf(symbol) !== undefined).map(({ name }) => name);
  assert.ok(names.includes('inner.cold') && !names.includes('outer.cold'), names.join());
  // Into the part and back again, within the livepatch.
  const jumps = [sectionNamed(file, '.text.inner'), sectionNamed(file, '.text.unlikely.inner')].map(targetsOf);
  assert.ok(jumps[0]?.includes('.text.unlikely.inner') && jumps[1]?.includes('.text.inner'), JSON.stringify(jumps));
});

test('.cold: refuses a part of a function that does not exist', async () => {
  const orphan = 'int shared; int lone(int a) __asm__("gone.cold"); int lone(int a) { return a + shared; }';
  assert.deepEqual(codesOf(await changeOf(orphan, orphan.replace('a + shared', 'a - shared'))), [
    'cold-without-parent',
  ]);
});

/** gcc splits `check` at its quick return: the rest becomes check.part.0, which both callers share. */
const PART = `
int use(int *, int); int counter;
static int check(int *p) {
	static int seen;
	if (!p) return 0;
	seen++; use(p, 1); use(p, 2); use(p, 3); counter += seen; use(p, 4); return use(p, seen);
}
int one(int *p) { return check(p) + 1; }
int two(int *p) { return check(p) + 2; }
`;

test('.part: replaces a split-off part with its own call to the tracer', async () => {
  const { change, replacements } = await extractOf(PART, PART.replace('use(p, 4)', 'use(p, 5)'));
  assert.deepEqual(summary(change), [['check.part'], [], []]);
  assert.deepEqual(
    replacements.map(({ originalName }) => originalName),
    ['check.part.0'],
  );
});

test('pairs static variables of a function that is split another way', async () => {
  const two = (text: string): string =>
    text.replace('int one(int *p) {', 'int one(int *p) { static int seen; counter += seen++;');
  // Without the quick return there is nothing to split: the function itself is there again. Another of that name comes
  // in front.
  const whole = two(PART)
    .replace('static int check', 'int first(int a) { static int seen; return seen += a; }\nstatic noinline int check')
    .replace('if (!p) return 0;', '');
  const { same, added, reasons } = await changeOf(two(PART), whole);
  assert.deepEqual(
    reasons.map(({ code }) => code),
    ['static-local-added'],
  );
  assert.equal([...same].filter(([atom]) => atom.key.startsWith('seen')).length, 2);
  assert.equal(namesOf(added).filter((name) => name.startsWith('seen')).length, 1);
});

/** Two copies of `scale`, for the two constants that it is called with. */
const COPIES = `
int use(int *, int); int shared;
static noinline int scale(int *p, int by) { int i; for (i = 0; i < by; i++) shared += use(p, by * 3); return shared; }
int one(int *p) { return scale(p, 100) + scale(p, 100); }
int two(int *p) { return scale(p, 77) + scale(p, 77); }
`;
const CLONE = ['-fipa-cp-clone', '-O3'];

test('.constprop: pairs copies whose numbers swap', async () => {
  const [first = '', second = ''] = COPIES.match(/^int (?:one|two)\(.*$/gm) ?? [];
  const swapped = COPIES.replace(first, '').replace(second, `${second}\n${first}`);
  const numbered = await changeOf(COPIES, COPIES, CLONE);
  const copies = namesOf(numbered.same.keys()).filter((key) => key.startsWith('scale'));
  assert.equal(copies.length, 2, 'the fixture no longer makes two copies');
  assert.deepEqual(summary(await changeOf(COPIES, swapped, CLONE)), [[], [], []]);
});

test('.constprop: adds one more copy, and keeps the others paired', async () => {
  const third = `${COPIES.replace('int one', 'int zero(int *p) { return scale(p, 5) + scale(p, 5); }\nint one')}`;
  const change = await changeOf(COPIES, third, CLONE);
  assert.deepEqual([namesOf(change.changed.keys()), codesOf(change)], [[], []]);
  assert.equal(namesOf(change.added).length, 2);
});

test('refuses changed copies of one name, of which some came or went, where they are used', async () => {
  const copy = (label: string, body: string): string =>
    `static noinline int ${label.replaceAll('.', '_')}(int) __asm__("${label}"); static noinline int ${label.replaceAll('.', '_')}(int a) { ${body} }\n`;
  const user = (calls: string): string => `int user(int a) { return ${calls}; }\n`;
  const before = `int s; ${copy('f.constprop.0', 'return a * s;')}${copy('f.constprop.1', 'return a / s;')}${user('f_constprop_0(a) + f_constprop_1(a)')}`;
  const after = `int s; ${copy('f.constprop.0', 'return a * s + 1;')}${user('f_constprop_0(a)')}`;
  assert.deepEqual(codesOf(await changeOf(before, after)), ['function-ambiguous']);
});

test('.isra: ignores numbers, and treats another specialisation as another function', async () => {
  const labelled = (name: string, more = ''): string =>
    `int s; static noinline int f(int) __asm__("${name}"); static noinline int f(int a) { return a * s${more}; } int user(int a) { return f(a); }`;
  assert.deepEqual(summary(await changeOf(labelled('f.isra.0'), labelled('f.isra.3'))), [[], [], []]);
  assert.deepEqual(summary(await changeOf(labelled('f.isra.0'), labelled('f.isra.1', ' + 1'))), [['f.isra'], [], []]);
  const respecialised = await changeOf(labelled('f'), labelled('f.isra.0', ' + 1'));
  assert.deepEqual(summary(respecialised), [['user'], ['f.isra'], []]);
});

const PLAIN = 'int s; int above(int a) { return a * s; } int changed(int a) { return above(a) + s; }';

test('includes the space that -fpatchable-function-entry leaves in front of a function', async () => {
  const flags = ['-fpatchable-function-entry=16,16'];
  const { change, file, replacements } = await extractOf(PLAIN, PLAIN.replace('+ s', '- s'), flags);
  assert.deepEqual(summary(change), [['changed'], [], []]);
  const text = sectionNamed(file, '.text.changed');
  assert.ok(text !== undefined);
  assert.ok(text.data.subarray(0, 16).every((byte) => byte === 0x90));
  assert.notEqual(text.data[16], 0x90);
  const named = (name: string | undefined): bigint | undefined =>
    file.symbols.find((symbol) => symbol.name === name && sectionOf(symbol) === text)?.value;
  assert.deepEqual([named('changed'), named(replacements[0]?.alias)], [16n, 16n]);
  const entries = sectionNamed(file, '__patchable_function_entries');
  assert.deepEqual([entries?.size, targetsOf(entries)], [8, ['.text.changed']]);
  assert.equal(entries?.relocations[0]?.addend, 0n);
});

test('includes __pfx_ and __cfi_ symbols with their function, and takes them for no functions', async () => {
  // As objtool and kCFI leave it, in assembler: a type hash and padding in front of the function.
  const typed = (hash: string, body: string): string => `
int s;
asm(".pushsection .text.changed,\\"ax\\",@progbits\\n.globl changed\\n.type changed,@function\\n"
    ".type __cfi_changed,@function\\n__cfi_changed: nop; nop; nop\\nmovl $${hash}, %eax\\n.size __cfi_changed, . - __cfi_changed\\n"
    "changed: call __fentry__\\n${body}\\nret\\n.size changed, . - changed\\n.popsection");
int above(int a) { return a * s; }`;
  const before = typed('0x1234', 'movl %edi, %eax');
  const { change, file } = await extractOf(before, typed('0x1234', 'movl %esi, %eax'));
  assert.deepEqual(summary(change), [['changed'], [], []]);
  const symbols = file.symbols.filter((symbol) => (sectionOf(symbol)?.flags ?? 0) & SHF_EXECINSTR);
  assert.deepEqual(
    symbols.map(({ name, value }) => [name, value]).sort(),
    [
      ['', 0n],
      ['__cfi_changed', 0n],
      ['alias_0', 8n],
      ['changed', 8n],
    ].filter(([name]) => name !== '' || symbols.some((symbol) => symbol.name === '')),
  );
  assert.deepEqual(
    [...(sectionNamed(file, '.text.changed')?.data.subarray(3, 8) ?? [])],
    [0xb8, 0x34, 0x12, 0x00, 0x00],
  );
  // Another type of the function: callers check the hash.
  assert.deepEqual(namesOf((await changeOf(before, typed('0x9999', 'movl %edi, %eax'))).changed.keys()), ['changed']);
  const prefixed = PLAIN.replace('int above', 'asm(".globl __pfx_above\\n"); int above');
  assert.deepEqual(summary(await changeOf(PLAIN, prefixed)), [[], [], []]);
});
