import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Section } from '@kmend/elf';
import { assembled } from '../testing/gcc.ts';
import { agreedSizes, type StructSizes, tableOf } from './tables.ts';

/** A unit with two functions of some instructions, texts, replacements, and one table. */
async function withTable(name: string, lines: string, flags = '"a",@progbits'): Promise<Section> {
  const file = await assembled(`
    .text
    first: .nops 32
    second: .nops 32
    .section .altinstr_replacement,"ax",@progbits
    .Lnew: .nops 16
    .section .rodata.str1.1,"aMS",@progbits,1
    .Ltext: .string "file.c"
    .data
    .Lkey: .quad 0
    .section ${name},${flags}
    ${lines}
  `);
  const section = file.sections.find((candidate) => candidate.name === name);
  assert.ok(section !== undefined);
  return section;
}

/** Entries at two places, or more. */
const entries = (entry: (place: string) => string, places = ['first+4', 'second+8', 'second+20']): string =>
  places.map(entry).join('\n');
const relative = (place: string): string => `.long ${place} - .\n`;

const FORMS: Readonly<Record<string, readonly [size: number, entry: (place: string) => string]>> = {
  '__bug_table without file': [8, (place) => `${relative(place)} .word 0; .word 0`],
  '__bug_table 4.x to 6.x': [12, (place) => `${relative(place)} ${relative('.Ltext')} .word 17; .word 0`],
  '__bug_table 7.x': [
    16,
    (place) => `${relative(place)} ${relative('.Ltext')} ${relative('.Ltext')} .word 17; .word 0`,
  ],
  '__ex_table before 4.6': [8, (place) => `${relative(place)} ${relative('second')}`],
  '__ex_table 4.6 to 5.14': [
    12,
    (place) => `${relative(place)} ${relative('second')} ${relative('ex_handler_default')}`,
  ],
  '__ex_table since 5.15': [12, (place) => `${relative(place)} ${relative('second')} .long 3`],
  '.altinstructions before 5.13': [13, (place) => `${relative(place)} ${relative('.Lnew')} .word 4; .byte 5, 3, 0`],
  '.altinstructions 6.1': [12, (place) => `${relative(place)} ${relative('.Lnew')} .word 4; .byte 5, 3`],
  '.altinstructions since 6.3': [14, (place) => `${relative(place)} ${relative('.Lnew')} .long 4; .byte 5, 3`],
  '__jump_table before 4.20': [24, (place) => `.quad ${place}; .quad second; .quad .Lkey`],
  '__jump_table since': [16, (place) => `${relative(place)} ${relative('second')} .quad .Lkey - .`],
  '.parainstructions': [16, (place) => `.balign 8; .quad ${place}; .byte 1, 5; .word 0`],
};

for (const [name, [size, entry]] of Object.entries(FORMS)) {
  test(`finds entries of ${name} by their relocations`, async () => {
    const table = tableOf(await withTable(name.split(' ')[0] ?? '', entries(entry)), new Map());
    assert.deepEqual(table, { entrySize: size, meaningful: true, from: 'relocations' });
    const two = tableOf(await withTable(name.split(' ')[0] ?? '', entries(entry, ['first', 'second'])), new Map());
    assert.deepEqual(two, table);
    const single = tableOf(await withTable(name.split(' ')[0] ?? '', entries(entry, ['first'])), new Map());
    assert.ok(single !== undefined && 'entrySize' in single);
    // A single entry may lack the padding that would follow it.
    assert.equal(single.entrySize, name === '.parainstructions' ? 12 : size);
  });
}

test('finds entries of which some lack a file or a format', async () => {
  const mixed = `${relative('first')} ${relative('.Ltext')} .word 1; .word 0
    ${relative('second')} .long 0; .word 2; .word 0
    ${relative('second+4')} ${relative('.Ltext')} .word 3; .word 0`;
  assert.deepEqual(tableOf(await withTable('__bug_table', mixed), new Map()), {
    entrySize: 12,
    meaningful: true,
    from: 'relocations',
  });
});

test('finds replacements that are nothing, and those that are a thunk of the kernel', async () => {
  const old = `${relative('first')} ${relative('.Lnew')} .word 4; .byte 5, 5, 3
    ${relative('first')} .long 0; .word 7; .byte 5, 0, 0
    ${relative('second+8')} ${relative('.Lnew+5')} .word 9; .byte 3, 3, 0`;
  const thunks = `${relative('first')} ${relative('__x86_indirect_alt_call_rax')} .word 4; .byte 5, 5
    ${relative('second')} ${relative('.Lnew')} .word 9; .byte 3, 3
    ${relative('second+8')} ${relative('__x86_indirect_alt_jmp_r11')} .word 9; .byte 5, 5`;
  const nothing = entries((place) => `${relative(place)} .long 0; .word 7; .byte 5, 0, 0`);
  for (const [size, lines] of [
    [13, old],
    [12, thunks],
    [13, nothing],
  ] as const) {
    const section = await withTable('.altinstructions', lines);
    assert.deepEqual(tableOf(section, new Map()), { entrySize: size, meaningful: true, from: 'relocations' });
    const known: StructSizes = new Map([['alt_instr', { size, from: 'object-types' }]]);
    assert.deepEqual(tableOf(section, known), { entrySize: size, meaningful: true, from: 'object-types' });
    assert.ok('unclear' in (tableOf(section, new Map([['alt_instr', { size: size + 1 }]])) ?? {}));
  }
});

test("prefers the kernel's types, which must fit", async () => {
  const [, entry] = FORMS['__bug_table 4.x to 6.x'] ?? [0, () => ''];
  const section = await withTable('__bug_table', entries(entry));
  const sized = (size: number): StructSizes => new Map([['bug_entry', { size }]]);
  assert.deepEqual(tableOf(section, sized(12)), { entrySize: 12, meaningful: true, from: 'kernel-types' });
  for (const size of [8, 16, 36]) assert.ok('unclear' in (tableOf(section, sized(size)) ?? {}), `${size}`);
});

test('uses the entry size that a section states', async () => {
  const [, entry] = FORMS['.altinstructions since 6.3'] ?? [0, () => ''];
  const section = await withTable('.altinstructions', entries(entry), '"aM",@progbits,14');
  assert.deepEqual(tableOf(section, new Map()), { entrySize: 14, meaningful: true, from: 'entry-size' });
});

test('reports what repeats in no known way as unclear, without guessing', async () => {
  const forms = {
    __bug_table: `${relative('.Ltext')} .long 0; .long 0`,
    __ex_table: `${relative('first')} .long 0`,
    __jump_table: `${relative('first')} ${relative('second')} .quad .Lkey - .; .long 0; ${relative('first')} ${relative('second')} .quad .Lkey - .; ${relative('first')} ${relative('second')} .quad .Lkey - .`,
    '.altinstructions': `.long 0; ${relative('first')} ${relative('.Lnew')} .long 0`,
    '.parainstructions': '.quad 0; .quad 0',
  };
  for (const [name, lines] of Object.entries(forms)) {
    assert.ok('unclear' in (tableOf(await withTable(name, lines), new Map()) ?? {}), name);
  }
});

test('takes the size from the one of two objects with more entries', async () => {
  const [, entry] = FORMS['.parainstructions'] ?? [0, () => ''];
  const lines = (places: string[]): string => `.text
    first: .nops 32
    second: .nops 32
    .section .parainstructions,"a",@progbits
    ${entries(entry, places)}`;
  const [one, more] = [await assembled(lines(['first'])), await assembled(lines(['first', 'second']))];
  const sizes = agreedSizes(one, more, new Map());
  assert.equal(sizes.get('paravirt_patch_site')?.size, 16);
  assert.equal(agreedSizes(more, one, new Map()).get('paravirt_patch_site')?.size, 16);
});
