import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ElfSymbol, Section } from '@kmend/elf';
import { checkTables } from './check-tables.ts';
import { Findings } from './finding.ts';
import { Loaded } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { SmallModule, smallKernel } from './testing/module.ts';
import type { World } from './world.ts';

const R_X86_64_PC32 = 2;
const LEA = [0x48, 0x8d, 0x3d, 0, 0, 0, 0];
const UD2 = [0x0f, 0x0b];
const ENTRY = 12;

const world = {
  layouts: new Map([
    [
      'bug_entry',
      {
        size: ENTRY,
        members: new Map([
          ['bug_addr_disp', 0],
          ['file_disp', 4],
        ]),
      },
    ],
  ]),
  locate: () => undefined,
  marksJumps: false,
  unwindFormat: { stackPointer: 5, header: undefined },
} as Pick<World, 'layouts' | 'locate' | 'marksJumps' | 'unwindFormat'> as World;

/**
 * What is found in a function of these bytes with a table of two entries; `about`: the place of each; `taken`: by the
 * offset of a field, which place of the table it leads to.
 */
function findings(
  code: readonly number[],
  about: readonly number[],
  taken: readonly (readonly [field: number, place: number])[],
): string[] {
  const module = new SmallModule();
  const { section, symbol } = module.function('warns');
  Object.assign(section, { data: Uint8Array.from(code), size: code.length });
  symbol.size = code.length;
  const text = module.data('text', 8);
  const table = module.data('bugs', about.length * ENTRY);
  table.name = '__bug_table';
  const of = (place: Section): ElfSymbol => ({ ...module.undefined(''), place, value: 0n });
  for (const [index, place] of about.entries()) {
    const offset = index * ENTRY;
    table.relocations.push({ offset, type: R_X86_64_PC32, symbol: of(section), addend: BigInt(place) });
    table.relocations.push({ offset: offset + 4, type: R_X86_64_PC32, symbol: of(text), addend: 0n });
  }
  for (const [offset, place] of taken)
    section.relocations.push({ offset, type: R_X86_64_PC32, symbol: of(table), addend: BigInt(place - 4) });
  const found = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(smallKernel({}), found);
  checkTables({ world, loaded, own: new OwnCode(loaded, found) }, found);
  return found.list.map(({ message }) => message).filter((message) => !message.includes('unwinder'));
}

test('accepts an entry of the bug table about a trap, or about the place behind the instruction that takes it', () => {
  assert.deepEqual(findings([...UD2, ...LEA, 0xc3], [0, 9], [[5, ENTRY]]), []);
});

test('rejects an entry of the bug table about neither', () => {
  assert.deepEqual(findings([...UD2, ...LEA, 0xc3], [0, 2], []), [
    '__bug_table, entry 1: bug_addr_disp leads to warns+0x2, which is no trap',
  ]);
});

test('rejects code that takes another entry than the one about it', () => {
  const twice = [...LEA, ...LEA, 0xc3];
  assert.deepEqual(
    findings(
      twice,
      [7, 14],
      [
        [3, 0],
        [10, ENTRY],
      ],
    ),
    [],
  );
  const [first = '', second = '', ...rest] = findings(
    twice,
    [7, 14],
    [
      [3, ENTRY],
      [10, 0],
    ],
  ).filter((message) => message.includes('another instruction'));
  assert.match(first, /^warns\+0x0 takes the address of an entry of __bug_table that is about another instruction$/);
  assert.match(second, /^warns\+0x7 /);
  assert.deepEqual(rest, []);
});
