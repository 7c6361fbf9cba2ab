import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { markedText } from '../source/marked.ts';
import { changeOf, codesOf, extractOf, summary } from '../testing/fixture.ts';

/**
 * Sections that have had their effect, code that cannot be replaced, and what only tells where something stands in the
 * source.
 */

const BASE = 'int shared; int one(int a) { return a + shared; } int two(int a) { return a - shared; }\n';

/** A nameless entry of a section, as the kernel's macros write it in assembler. */
const entry = (section: string, value: number, flags = 'a'): string =>
  `asm(".pushsection ${section},\\"${flags}\\"\\n.long ${value}, one - .\\n.popsection");\n`;

test('refuses changed, added and removed entries of tables that the kernel has read once', async () => {
  const nameless = ['.pci_fixup_final', '__tracepoints_ptrs', '.some_table_that_is_not_known'];
  for (const section of nameless) {
    const before = BASE + entry(section, 1);
    assert.deepEqual(codesOf(await changeOf(before, BASE + entry(section, 2))), ['section-changed'], section);
    assert.deepEqual(codesOf(await changeOf(before, before + entry(section, 3))), ['section-changed'], section);
    assert.deepEqual(codesOf(await changeOf(before, BASE)), ['section-changed'], section);
    assert.deepEqual(codesOf(await changeOf(before, before)), [], section);
  }
  const parameter = (permissions: number): string =>
    `${BASE}static const struct { int *at; int permissions; } __param_one __used __section("__param") = { &shared, ${permissions} };`;
  assert.deepEqual(codesOf(await changeOf(parameter(4), parameter(6))), ['section-changed']);
  assert.deepEqual(codesOf(await changeOf(BASE, parameter(4))), ['section-added']);
  assert.deepEqual(codesOf(await changeOf(parameter(4), BASE)), ['section-changed']);
});

test('asks for a review of changed init and exit code, which has no effect any more', async () => {
  const init = (body: string, value: number): string =>
    `${BASE}static int once __section(".init.data") = ${value}; int __section(".init.text") start(void) { return once ${body} }
     int __section(".exit.text") finish(void) { return shared ${body} }\n`;
  const before = init('+ 1;', 1) + entry('.initcall6.init', 0);
  const changed = async (after: string): Promise<string[]> => codesOf(await changeOf(before, after));
  assert.deepEqual(await changed(init('+ 2;', 1) + entry('.initcall6.init', 0)), ['init-changed?', 'init-changed?']);
  assert.deepEqual(await changed(init('+ 1;', 2) + entry('.initcall6.init', 0)), ['init-changed?']);
  assert.deepEqual(await changed(init('+ 1;', 1)), ['init-changed?']);
  // New init code never runs, and is not part of a livepatch.
  const more = `${before} int __section(".init.text") later(void) { return 3; }`;
  assert.deepEqual(await changed(more), []);
});

test('refuses code that newly uses what is dropped after the start', async () => {
  const start = `${BASE} int __section(".init.text") start(int a) { return a; }\n`;
  const uses = (name: string, declared = ''): string =>
    `${declared}${start}`.replace('return a + shared', `return ${name}`);
  assert.deepEqual(codesOf(await changeOf(start, uses('later', 'static int later __section(".init.data") = 5;'))), [
    'init-referenced',
  ]);
});

test('reports nothing for added, removed and changed exports, which running code does not use', async () => {
  const exported = (name: string, flags = 0): string =>
    `asm(".pushsection \\"___ksymtab+${name}\\",\\"a\\"\\n__ksymtab_${name}: .long ${name} - ., ${flags}\\n.popsection");\n`;
  const before = BASE + exported('one');
  for (const after of [before + exported('two'), BASE, BASE + exported('one', 7)]) {
    assert.deepEqual(summary(await changeOf(before, after)), [[], [], []]);
  }
  const { file } = await extractOf(before, (before + exported('two')).replace('a - shared', 'a * shared'));
  assert.deepEqual(
    file.sections.filter(({ name }) => name.includes('ksymtab')).map(({ name }) => name),
    [],
  );
});

test('.modinfo: reports no difference, and takes namespaces from the exports that are used', async () => {
  const info = (text: string): string => `${BASE}static const char info[] __used __section(".modinfo") = "${text}";`;
  assert.deepEqual(summary(await changeOf(info('import_ns=A'), info('import_ns=LONGER'))), [[], [], []]);
});

test('refuses to replace code in untraced sections, and code that is not traced itself', async () => {
  const cases = [
    ['__section(".noinstr.text")', 'section-unpatchable'],
    ['__section(".entry.text")', 'section-unpatchable'],
    ['__section(".kprobes.text")', 'section-unpatchable'],
    ['__section(".static_call.text")', 'section-unpatchable'],
    ['__attribute__((no_instrument_function))', 'not-traceable'],
  ] as const;
  for (const [attribute, code] of cases) {
    const before = BASE.replace('int two', `${attribute} int two`);
    assert.deepEqual(codesOf(await changeOf(before, before.replace('a - shared', 'a * shared'))), [code], attribute);
  }
  for (const section of ['.ref.text', '.sched.text', '.cpuidle.text', '.softirqentry.text']) {
    const before = BASE.replace('int two', `__section("${section}") int two`);
    assert.deepEqual(summary(await changeOf(before, before.replace('a - shared', 'a * shared'))), [['two'], [], []]);
  }
  const added = `${BASE}int __section(".noinstr.text") three(int a) { return a; }`;
  assert.deepEqual(codesOf(await changeOf(BASE, added)), ['section-unpatchable']);
});

test('refuses changed code in assembler outside of functions, which is no function to replace', async () => {
  const named = (body: string): string =>
    `${BASE}asm(".pushsection .text\\n.globl three\\n.type three,@function\\nthree: ${body}\\nret\\n.size three, . - three\\n.popsection");`;
  assert.deepEqual(codesOf(await changeOf(named('nop'), named('cld'))), ['not-traceable']);
});

/**
 * The record of one pr_debug() (include/linux/dynamic_debug.h), and of one printk() in the index
 * (include/linux/printk.h).
 */
const RECORDS = `
struct record { const char *function, *format; unsigned line; long key; };
struct index { const char *format, *function; unsigned line; };
`;
const records = (line: number, format = 'went %d'): string => `
int two(int a) {
	static struct record descriptor __used __section("__dyndbg") = { "two", "${format}", ${line}, 0 };
	static const struct index _entry __used = { "${format}", "two", ${line} };
	static const struct index *_entry_ptr __used __section(".printk_index") = &_entry;
	static struct record verbose __used __section("__verbose") = { "two", "${format}", ${line}, 0 };
	if (descriptor.key) printk(descriptor.format, a);
	return a;
}
`;
const LOGGING = `${RECORDS}int shared; int one(int a) { return a + shared; }`;

test('.printk_index, __dyndbg, __verbose: compares texts, not their lines', async () => {
  assert.deepEqual(summary(await changeOf(LOGGING + records(10), LOGGING + records(11))), [[], [], []]);
  assert.deepEqual(summary(await changeOf(LOGGING + records(10), LOGGING + records(10, 'gone %d'))), [['two'], [], []]);
});

test("uses its own record and key of dynamic debugging, and no module's", async () => {
  const branch = records(10).replace('if (descriptor.key)', 'STATIC_BRANCH(&descriptor.key, yes); return a; yes:');
  const { file, needs } = await extractOf(LOGGING + branch, LOGGING + branch.replace('return a;\n', 'return a + 1;\n'));
  assert.deepEqual(needs.map(({ name }) => name).sort(), ['__fentry__', 'printk']);
  const key = file.sections.find(({ name }) => name === '__jump_table')?.relocations.at(-1);
  const record = file.symbols.find(({ name }) => name.startsWith('descriptor'));
  assert.ok(record !== undefined && key?.symbol === record);
  assert.equal(key.addend, 24n);
});

const WARNING =
  'int shared; void warned(int line); int one(int a) { return a + shared; }\n\nint two(int a) { if (a > 4) { BUG_ENTRY(0, 1); warned(__LINE__); } return a; }\n';

test('__LINE__: reports no change in code below an added line', async () => {
  const edges = { run, signal: new AbortController().signal };
  const after = WARNING.replace('return a + shared;', '\n\n\treturn a - shared;\n').replace(
    '}\n\nint two',
    '}\n/* more */\n\nint two',
  );
  const marked = (text: string): Promise<string> => markedText(edges, 'a/unit.c', WARNING, text);
  assert.deepEqual(summary(await changeOf(await marked(WARNING), await marked(after))), [['one'], [], []]);
  // As it would be without.
  assert.deepEqual(summary(await changeOf(WARNING, after)), [['one', 'two'], [], []]);
});
