import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scope } from '../compare/types/scope.ts';
import { elfOf } from '../testing/gcc.ts';
import {
  DW_AT_byte_size,
  DW_AT_const_value,
  DW_AT_encoding,
  DW_AT_low_pc,
  DW_AT_name,
  DW_AT_type,
} from './constants.ts';
import { type Dwarf, type Entry, readDwarf } from './index.ts';

/**
 * A unit by hand, with the forms of version 5 that GCC leaves to other compilers: names by index (`strx`), addresses by
 * index (`addrx`), constants in the abbreviation, numbers of 16 bytes, indirect forms, references by any length.
 */
const UNIT = `
  .section .debug_abbrev,"",@progbits
  .uleb128 1; .uleb128 0x11; .byte 1
  .uleb128 0x72; .uleb128 0x17
  .uleb128 0x03; .uleb128 0x1a
  .uleb128 0; .uleb128 0
  .uleb128 2; .uleb128 0x24; .byte 0
  .uleb128 0x03; .uleb128 0x25
  .uleb128 0x0b; .uleb128 0x21; .sleb128 4
  .uleb128 0x3e; .uleb128 0x16
  .uleb128 0; .uleb128 0
  .uleb128 3; .uleb128 0x34; .byte 0
  .uleb128 0x11; .uleb128 0x1b
  .uleb128 0x02; .uleb128 0x22
  .uleb128 0x40; .uleb128 0x1e
  .uleb128 0x03; .uleb128 NAMEFORM
  .uleb128 0x1c; .uleb128 0x21; .sleb128 -7
  .uleb128 0x49; .uleb128 REFFORM
  .uleb128 0; .uleb128 0
  .byte 0
  .section .debug_info,"",@progbits
unit:
  .long unitend - unitversion
unitversion:
  .value 5
  .byte 1, 8
  .long .debug_abbrev
  .uleb128 1; .long offsets; .uleb128 0
base:
  .uleb128 2; .byte 1; .uleb128 0x0b; .byte 5
  .uleb128 3; .uleb128 300; .uleb128 5; .fill 16, 1, 0xff
  NAME
  REF
  .byte 0
unitend:
  .section .debug_str_offsets,"",@progbits
  .long offsetsend - 1f
1: .value 5, 0
offsets:
  .long name0, name1, name2
offsetsend:
  .section .debug_str,"MS",@progbits,1
  .string "something else"
name0: .string "hand.c"
name1: .string "int"
name2: .string "counter"
`;

const NAMES: readonly (readonly [string, string])[] = [
  ['0x1a', '.uleb128 2'],
  ['0x25', '.byte 2'],
  ['0x26', '.value 2'],
  ['0x27', '.byte 2, 0, 0'],
  ['0x28', '.long 2'],
  ['0x0e', '.long name2'],
  ['0x08', '.string "counter"'],
];
const REFERENCES: readonly (readonly [string, string])[] = [
  ['0x11', '.byte base - unit'],
  ['0x12', '.value base - unit'],
  ['0x13', '.long base - unit'],
  ['0x14', '.quad base - unit'],
  ['0x15', '.uleb128 base - unit'],
  ['0x10', '.long base'],
];

async function read(name: readonly [string, string], reference: readonly [string, string]): Promise<[Dwarf, Entry[]]> {
  const text = UNIT.replace('NAMEFORM', name[0])
    .replace('NAME\n', `${name[1]}\n`)
    .replace('REFFORM', reference[0])
    .replace('REF\n', `${reference[1]}\n`);
  const dwarf = readDwarf(await elfOf(text, [], 'hand.s'));
  assert.ok(dwarf?.units[0] !== undefined);
  const root = dwarf.root(dwarf.units[0]);
  return [dwarf, [root, ...dwarf.children(root)]];
}

const combinations = NAMES.map((name, index) => [name, REFERENCES[index % REFERENCES.length] ?? name] as const);

for (const [name, reference] of combinations) {
  test(`reads a name by form ${name[0]} and a reference by form ${reference[0]}`, async () => {
    const [dwarf, [root, base, variable]] = await read(name, reference);
    assert.ok(root !== undefined && base !== undefined && variable !== undefined);
    assert.deepEqual(
      [root, base, variable].map((entry) => dwarf.text(entry, DW_AT_name)),
      ['hand.c', 'int', 'counter'],
    );
    assert.deepEqual([dwarf.count(base, DW_AT_byte_size), dwarf.count(base, DW_AT_encoding)], [4, 5]);
    assert.deepEqual([dwarf.constant(variable, DW_AT_const_value), dwarf.has(variable, DW_AT_low_pc)], [-7n, true]);
    assert.equal(dwarf.reference(variable, DW_AT_type)?.offset, base.offset);
  });
}

/**
 * A type in a unit of its own, as Clang has it: the unit that uses it declares it with its signature; another variable
 * refers across the sections. The type unit's section is a COMDAT of the same name.
 */
const TWO_SECTIONS = `
  .section .debug_abbrev,"",@progbits
  .uleb128 1; .uleb128 0x11; .byte 1; .uleb128 0; .uleb128 0
  .uleb128 2; .uleb128 0x41; .byte 1; .uleb128 0; .uleb128 0
  .uleb128 3; .uleb128 0x13; .byte 0; .uleb128 0x03; .uleb128 0x08; .uleb128 0x0b; .uleb128 0x0b; .uleb128 0; .uleb128 0
  .uleb128 4; .uleb128 0x13; .byte 0; .uleb128 0x3c; .uleb128 0x19; .uleb128 0x69; .uleb128 0x20; .uleb128 0; .uleb128 0
  .uleb128 5; .uleb128 0x34; .byte 0; .uleb128 0x49; .uleb128 0x13; .uleb128 0x03; .uleb128 0x08; .uleb128 0; .uleb128 0
  .uleb128 6; .uleb128 0x34; .byte 0; .uleb128 0x49; .uleb128 0x10; .uleb128 0x03; .uleb128 0x08; .uleb128 0; .uleb128 0
  .byte 0
  .section .debug_info,"",@progbits
unit: .long unitend - 1f
1: .value 5
  .byte 1, 8
  .long .debug_abbrev
  .uleb128 1
declared: .uleb128 4; .quad 0x1122334455667788
  .uleb128 5; .long declared - unit; .string "by_signature"
  .uleb128 6; .long type; .string "across"
  .uleb128 6; .long type; .string "last"
  .byte 0
unitend:
  .section .debug_info,"G",@progbits,group,comdat
own: .long ownend - 1f
1: .value 5
  .byte 2, 8
  .long .debug_abbrev
  .quad 0x1122334455667788
  .long type - own
  .uleb128 2
type: .uleb128 3; .string "item"; .byte 24
  .byte 0
ownend:
`;

test('finds a type in a section of its own by signature and across sections', async () => {
  const dwarf = readDwarf(await elfOf(TWO_SECTIONS, [], 'hand.s'));
  assert.ok(dwarf?.units[0] !== undefined);
  const scope = new Scope(dwarf, dwarf.units[0]);
  assert.deepEqual([...scope.variables.keys()], ['by_signature', 'across', 'last']);
  for (const [variable] of scope.variables.values()) {
    assert.ok(variable !== undefined);
    const type = scope.reader.typeOf(variable);
    assert.deepEqual([scope.reader.signature(type), scope.reader.size(type)], ['struct item', 24]);
  }
});

test('reads the address of a variable from its relocation, in the entry or in clang’s table', async () => {
  const file = await elfOf(
    `
  .section .debug_abbrev,"",@progbits
  .uleb128 1; .uleb128 0x11; .byte 1
  .uleb128 0x73; .uleb128 0x17
  .uleb128 0; .uleb128 0
  .uleb128 2; .uleb128 0x34; .byte 0
  .uleb128 0x03; .uleb128 0x08
  .uleb128 0x02; .uleb128 0x18
  .uleb128 0; .uleb128 0
  .byte 0
  .section .debug_info,"",@progbits
  .long unitend - unitversion
unitversion:
  .value 5
  .byte 1, 8
  .long .debug_abbrev
  .uleb128 1; .long addresses
  .uleb128 2; .string "table"; .uleb128 2; .byte 0xa1, 1
  .uleb128 2; .string "entry"; .uleb128 9; .byte 0x03; .quad first
  .uleb128 2; .string "moved"; .uleb128 11; .byte 0x03; .quad first; .byte 0x23, 4
  .byte 0
unitend:
  .section .debug_addr,"",@progbits
  .long addressend - 1f
1: .value 5
  .byte 8, 0
addresses:
  .quad first, second
addressend:
  .data
  .globl first, second
first: .long 1
second: .long 2
`,
    [],
    'hand.s',
  );
  const dwarf = readDwarf(file) ?? assert.fail('no debug information');
  const [unit] = dwarf.units;
  assert.ok(unit !== undefined);
  const places = dwarf
    .children(dwarf.root(unit))
    .map((entry) => `${dwarf.name(entry)} ${dwarf.staticAddress(entry)?.relocation.symbol.name}`);
  assert.deepEqual(places, ['table second', 'entry first', 'moved undefined']);
});
