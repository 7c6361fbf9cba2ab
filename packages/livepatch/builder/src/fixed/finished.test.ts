import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ElfFile, SHF_ALLOC, SHN_LIVEPATCH, SHN_UNDEF, writeElf } from '@kmend/elf';
import { moduleImage } from '../byte-proof/image.ts';
import { proveUnit } from '../byte-proof/prove.ts';
import { elfOf, objectOf } from '../testing/gcc.ts';
import { compareFinished } from './finished.ts';

const FIXED = `
int printk(const char *, ...); int helper(int); int other(int);
static int count; void bump(void) { count++; }
int first(int a) { if (a > 3) printk("too large: %d", a); count++; return helper(a); }
`;

/** As it is in a livepatch: what is the kernel's is referred to. */
const LIVEPATCH = FIXED.replace('static int count; void bump(void) { count++; }', 'extern int count;');

/** The livepatch's object as a finished module: references are livepatch's, by the name that `rename` gives them. */
async function module(
  text = LIVEPATCH,
  rename = (name: string) => name,
  flags: readonly string[] = [],
): Promise<ElfFile> {
  const file = await elfOf(text, flags);
  const moved = file.symbols.filter(({ place, name }) => place === SHN_UNDEF && name !== '' && name !== '__fentry__');
  for (const section of file.sections) {
    const relocations = section.relocations.filter(({ symbol }) => moved.includes(symbol));
    section.relocations = section.relocations.filter(({ symbol }) => !moved.includes(symbol));
    if (relocations.length > 0)
      file.livepatchRelocations.push({ name: `.klp.rela.unit.${section.name}`, target: section, relocations });
  }
  for (const symbol of moved) {
    symbol.name = `.klp.sym.unit.${rename(symbol.name)},0`;
    symbol.place = SHN_LIVEPATCH;
  }
  return file;
}

async function failures(
  file: ElfFile,
  objects: readonly string[] = ['unit'],
  source = FIXED,
  flags: readonly string[] = [],
): Promise<string[]> {
  const [fixed, view] = await Promise.all([elfOf(source, flags), objectOf(source, { flags })]);
  const expected = objects.map((object) => {
    const image = moduleImage(object, fixed);
    const { addresses } = proveUnit({ source: 'a/unit.c', object }, view, image);
    const places = new Map([...addresses].map(([name, { address }]) => [name, address]));
    return { name: 'first', source: 'a/unit.c', parts: ['first'], image, places };
  });
  return compareFinished(writeElf(file), expected).map(({ why }) => why);
}

test('finds a function equal once livepatch has resolved what it refers to', async () => {
  assert.deepEqual(await failures(await module()), []);
});

const broken: Readonly<Record<string, readonly [make: () => Promise<ElfFile>, why: RegExp]>> = {
  'another function of the kernel': [
    () => module(LIVEPATCH, (name) => (name === 'helper' ? 'other' : name)),
    /the livepatch leads to other, the fixed kernel to helper$/,
  ],
  'another variable of the kernel': [
    () => module(LIVEPATCH, (name) => (name === 'count' ? 'counter' : name)),
    /the livepatch leads to counter, the fixed kernel to count$/,
  ],
  'a variable of its own in place of the kernel’s': [
    () => module(LIVEPATCH.replace('extern int count', 'static int own').replaceAll('count++', 'own++')),
    /the livepatch leads to own, the fixed kernel to count$/,
  ],
  'a relocation that is missing': [
    async () => {
      const file = await module();
      for (const table of file.livepatchRelocations) table.relocations.splice(0, 1);
      return file;
    },
    /^first: code differs at/,
  ],
  'an addend that is another': [
    async () => {
      const file = await module();
      for (const { relocations } of file.livepatchRelocations)
        for (const relocation of relocations) relocation.addend += 4n;
      return file;
    },
    /^first: /,
  ],
  'another byte': [() => module(LIVEPATCH.replace('a > 3', 'a > 4')), /^first: code differs at/],
  'no function of the name': [
    () => module(LIVEPATCH.replace('int first', 'int other_one')),
    /^the module has no first$/,
  ],
};

for (const [what, [make, why]] of Object.entries(broken)) {
  test(`detects ${what} in the finished module`, async () => {
    const [found, ...others] = await failures(await make());
    assert.match(found ?? '', why);
    assert.deepEqual(others, []);
  });
}

test('does not take one function for those of two objects', async () => {
  assert.deepEqual(await failures(await module(), ['unit', 'other']), ['first: the module has too few of that name']);
});

/** As scripts/module.lds.S of 6.15 and later joins texts with other constants. */
async function joined(text?: string): Promise<ElfFile> {
  const file = await module(text);
  const texts = file.sections.find(({ name }) => name.startsWith('.rodata') && name.includes('.str'));
  assert.ok(texts !== undefined);
  const data = Buffer.concat([texts.data, Buffer.from('another text\0\x07\0\0\0', 'latin1')]);
  Object.assign(texts, { name: '.rodata', flags: SHF_ALLOC, entrySize: 0, data, size: data.length });
  return file;
}

test('reads texts that the linker joined with other constants', async () => {
  assert.deepEqual(await failures(await joined()), []);
  const [found = ''] = await failures(await joined(LIVEPATCH.replace('too large: %d', 'too large: %u')));
  assert.match(found, /^first: code differs at/);
});

const CHECKED = `
int table[8]; int other[9]; static int count; void bump(void) { count++; }
int first(unsigned a) { return table[a]; }
`;
const UBSAN = ['-fsanitize=bounds'];

test('leaves out lines in what UBSAN reports, but not the types', async () => {
  const livepatch = CHECKED.replace(/^int table.*$/m, 'extern int table[8]; extern int other[8];');
  const moved = await module(`\n\n\n${livepatch}`, undefined, UBSAN);
  assert.deepEqual(await failures(moved, ['unit'], CHECKED, UBSAN), []);
  const retyped = await module(livepatch.replace('unsigned a', 'unsigned short a'), undefined, UBSAN);
  assert.notDeepEqual(await failures(retyped, ['unit'], CHECKED.replace('unsigned a', 'int a'), UBSAN), []);
  const larger = await module(livepatch, undefined, UBSAN);
  for (const section of larger.sections) {
    const at = Buffer.from(section.data).indexOf("'int [8]'");
    if (at !== -1) section.data = Buffer.from(Buffer.from(section.data).fill('9', at + 6, at + 7));
  }
  const [found = ''] = await failures(larger, ['unit'], CHECKED, UBSAN);
  assert.match(found, /another constant is used$/);
});

/** gcc 12 and later take both bytes from a section of constants. */
const CONSTANT = `
int check(const void *); int helper(int); static int count; void bump(void) { count++; }
int first(const char *p)
{
	unsigned char e[8];
	__builtin_memcpy(e, p, 3); e[3] = 0xff; e[4] = 0xfe; __builtin_memcpy(e + 5, p + 3, 3);
	return check(e);
}
`;

test('does not take a constant for a text, whatever constant lies behind it', async () => {
  const file = await module(CONSTANT.replace(/static int count.*/, ''), undefined, ['-O2']);
  const constants = file.sections.find(({ name }) => name === '.rodata.cst2');
  assert.ok(constants !== undefined, 'the compiler makes no such section any more');
  const data = Buffer.concat([constants.data, Buffer.from([0, 0])]);
  Object.assign(constants, { data, size: data.length });
  assert.deepEqual(await failures(file, ['unit'], CONSTANT, ['-O2']), []);
  // As scripts/module.lds.S of 6.15 and later joins them with others.
  Object.assign(constants, { name: '.rodata', flags: SHF_ALLOC, entrySize: 0 });
  assert.deepEqual(await failures(file, ['unit'], CONSTANT, ['-O2']), []);
});
