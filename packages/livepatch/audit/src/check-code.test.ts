import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ElfSymbol, type Section, SHF_ALLOC, SHT_PROGBITS, STB_LOCAL, STT_OBJECT } from '@kmend/elf';
import { checkCode } from './check-code.ts';
import { Findings } from './finding.ts';
import { decode } from './instructions.ts';
import { Loaded } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import type { ShippedPart } from './shipped-code.ts';
import { SmallModule, smallKernel } from './testing/module.ts';
import { twinOf } from './twin.ts';
import type { World } from './world.ts';

const R_X86_64_32S = 11;
const world = { locate: () => undefined } as Pick<World, 'locate'> as World;

/**
 * What is found in a function of these bytes; its field at an offset, if one is given, leads to an array of 32 bytes,
 * so far from its start.
 */
function findings(
  code: readonly number[],
  field?: { readonly at: number; readonly addend: bigint },
  shipped?: readonly number[],
): string[] {
  const module = new SmallModule();
  const { section, symbol } = module.function('f');
  section.data = Uint8Array.from(code);
  section.size = code.length;
  symbol.size = code.length;
  if (field !== undefined) {
    const data = new Uint8Array(32);
    const place: Section = {
      ...section,
      name: '.rodata.array',
      type: SHT_PROGBITS,
      flags: SHF_ALLOC,
      data,
      size: data.length,
      relocations: [],
    };
    const array: ElfSymbol = { name: 'array', value: 0n, size: 32, bind: STB_LOCAL, type: STT_OBJECT, other: 0, place };
    module.file.sections.push(place);
    module.file.symbols.push(array);
    section.relocations.push({ offset: field.at, type: R_X86_64_32S, symbol: array, addend: field.addend });
  }
  const found = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(smallKernel({}), found);
  const own = new OwnCode(loaded, found);
  const parts = shipped === undefined ? [] : [partOf(Uint8Array.from(shipped))];
  const read = (at: number, size: number) => parts[0]?.code.subarray(at, at + size);
  const there = { read } as Pick<World, 'read'> as World;
  const twin = shipped === undefined ? undefined : twinOf(there, 'vmlinux', own.functions, parts);
  checkCode({ world, loaded, own }, [{ functions: own.functions, shipped: twin, fixed: [] }], found);
  return found.list.map(({ code: what }) => what);
}

function partOf(code: Uint8Array): ShippedPart {
  return { address: 0, code, instructions: decode(code) ?? [], references: [] };
}

const VALUE = [0x48, 0xc7, 0xc0, 0, 0, 0, 0, 0xc3];
const SHIFTED = [0x48, 0x8b, 0x04, 0xc5, 0, 0, 0, 0, 0xc3];
const ACCESS = [0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0xc3];

test('accepts a constant that is stored on the stack, whatever its displacement', () => {
  assert.deepEqual(findings([0x48, 0xc7, 0x45, 0xc0, 0, 0, 0, 0, 0xc3]), []);
  assert.deepEqual(findings(VALUE), ['relocation-missing']);
});

test('accepts the end of an array where it is compared with, not where it is read', () => {
  assert.deepEqual(findings(VALUE, { at: 3, addend: 32n }), []);
  assert.deepEqual(findings(VALUE, { at: 3, addend: 33n }), ['reference-astray']);
  assert.deepEqual(findings(ACCESS, { at: 4, addend: 32n }), ['reference-astray']);
});

test('accepts an access through a pointer that is known to be NULL, not one at an empty address', () => {
  const [movl, modrm, sib] = [0x8b, 0x04, 0x25];
  assert.deepEqual(findings([movl, modrm, sib, 0x30, 0, 0, 0, 0xc3]), []);
  for (const empty of [
    [movl, modrm, sib, 0, 0, 0, 0, 0xc3],
    [movl, modrm, sib, 0, 0x10, 0, 0, 0xc3],
    [0x65, movl, modrm, sib, 0x30, 0, 0, 0, 0xc3],
  ])
    assert.ok(findings(empty).includes('relocation-missing'));
});

test('accepts a place before an array to which a register is added', () => {
  assert.deepEqual(findings(SHIFTED, { at: 4, addend: -800n }), []);
  assert.deepEqual(findings(ACCESS, { at: 4, addend: -8n }), ['reference-astray']);
  assert.deepEqual(findings(VALUE, { at: 3, addend: -800n }), ['reference-astray']);
});

test('accepts a read of address 0 only where the shipped kernel has the same one', () => {
  const padded = (...access: number[]): number[] => [
    ...Array.from({ length: 8 }, () => [0x48, 0x89, 0xc3]).flat(),
    ...access,
    0xc3,
  ];
  const ofNull = padded(0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0);
  assert.deepEqual(findings(ofNull), ['relocation-missing']);
  assert.deepEqual(findings(ofNull, undefined, ofNull), []);
  const relocated = padded(0x48, 0x8b, 0x04, 0x25, 0, 0x10, 0, 0x82);
  assert.deepEqual(findings(ofNull, undefined, relocated), ['relocation-missing']);
});
