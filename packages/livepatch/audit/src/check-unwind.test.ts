import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Section } from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import { checkUnwind } from './check-unwind.ts';
import { Findings } from './finding.ts';
import { Loaded } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { SmallModule, smallKernel } from './testing/module.ts';
import { type UnwindFormat, unwindFormat } from './unwind-format.ts';

const R_X86_64_PC32 = 2;
/** `struct orc_entry`: offset from the stack pointer, of the frame pointer, and the register (5: the stack pointer). */
const AT_START = [8, 0, 0, 0, 0x05, 0];
/** As 7.3 counts registers. */
const AT_START_OF_7 = [8, 0, 0, 0, 0x03, 0];
const FORMAT: UnwindFormat = { stackPointer: 5, header: undefined };
/** As 6.12 has it (arch/x86/include/asm/alternative.h). */
const ALTERNATIVE: StructLayout = {
  size: 14,
  members: new Map([
    ['instr_offset', 0],
    ['repl_offset', 4],
    ['instrlen', 12],
    ['replacementlen', 13],
  ]),
};
const IN_THE_MIDST = [16, 0, 0, 0, 0x05, 0];

/** Findings about a function of two bytes behind two of padding; `entries`: offset in the section, and what it says. */
type Entry = readonly [offset: number, entry: readonly number[]];

function unwinding(...entries: readonly Entry[]): string[] {
  return unwindingIn(FORMAT, undefined, ...entries);
}

function unwindingIn(format: UnwindFormat, header: Uint8Array | undefined, ...entries: readonly Entry[]): string[] {
  const module = new SmallModule();
  const { section, symbol } = module.function('padded');
  section.data = Uint8Array.from([0x90, 0x90, 0x90, 0xc3]);
  section.size = section.data.length;
  Object.assign(symbol, { value: 2n, size: 2 });
  const places = module.data('places', 4 * entries.length);
  places.name = '.orc_unwind_ip';
  const table = module.data('entries', 6 * entries.length);
  table.name = '.orc_unwind';
  for (const [index, [offset, entry]] of entries.entries()) {
    const addend = BigInt(offset) - symbol.value;
    places.relocations.push({ offset: 4 * index, type: R_X86_64_PC32, symbol, addend });
    table.data.set(entry, 6 * index);
  }
  if (header !== undefined) {
    const own = module.data('header', header.length);
    own.name = '.orc_header';
    own.data = header;
  }
  const findings = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(smallKernel({}), findings);
  checkUnwind(loaded, new OwnCode(loaded, findings), { format, alternative: ALTERNATIVE }, findings);
  return findings.list.map(({ message }) => message);
}

test('accepts an unwind entry at a function or at the padding in front of it', () => {
  assert.deepEqual(unwinding([2, AT_START]), []);
  assert.deepEqual(unwinding([0, AT_START]), []);
  assert.deepEqual(unwinding([0, AT_START], [3, IN_THE_MIDST]), []);
});

test('rejects an entry in front of a function that does not describe its first instruction', () => {
  for (const entries of [[[0, IN_THE_MIDST]], [[3, AT_START]], []] as const)
    assert.deepEqual(unwinding(...entries), ["the unwinder's table has no entry for padded"]);
});

test('takes the number of the stack pointer from the table of the shipped kernel', () => {
  const table = (...entries: readonly (readonly number[])[]) => [
    { name: '.orc_unwind', data: Uint8Array.from(entries.flat()) },
  ];
  const format = unwindFormat(table(AT_START_OF_7, [8, 0, 0, 0, 0x04, 0], AT_START_OF_7, IN_THE_MIDST));
  assert.deepEqual(format, { stackPointer: 3, header: undefined });
  assert.deepEqual(unwindingIn(format, undefined, [0, AT_START_OF_7]), []);
  assert.equal(unwindingIn(format, undefined, [0, AT_START]).length, 1);
  assert.equal(unwindFormat([]).stackPointer, undefined);
});

test('rejects a table in another format than the shipped kernel’s', () => {
  const header = Uint8Array.of(1, 2, 3);
  const format = { ...FORMAT, header };
  assert.deepEqual(unwindingIn(format, header, [2, AT_START]), []);
  for (const other of [undefined, Uint8Array.of(1, 2, 4)])
    assert.match(unwindingIn(format, other, [2, AT_START]).join(), /not in the format of the kernel's/);
});

test('accepts entries inside an instruction only where a replacement has instructions', () => {
  const inside = (offsets: readonly number[]): string[] => {
    const module = new SmallModule();
    // A call of five bytes that `pushf; pop %rax` replaces.
    const { section } = module.function('saves_flags');
    const replacement = module.function('.altinstr_replacement').section;
    replacement.name = '.altinstr_replacement';
    replacement.data = Uint8Array.of(0x9c, 0x58);
    replacement.size = 2;
    module.file.symbols.pop();
    const alternatives = module.data('alternatives', 14);
    alternatives.name = '.altinstructions';
    alternatives.data.set([5, 2], 12);
    const at = (to: Section, addend: number, offset: number) => ({
      offset,
      type: R_X86_64_PC32,
      symbol: { ...module.undefined(to.name), place: to, value: 0n },
      addend: BigInt(addend),
    });
    alternatives.relocations.push(at(section, 0, 0), at(replacement, 0, 4));
    const places = module.data('places', 4 * offsets.length);
    places.name = '.orc_unwind_ip';
    places.relocations.push(...offsets.map((offset, index) => at(section, offset, 4 * index)));
    const table = module.data('entries', 6 * offsets.length);
    table.name = '.orc_unwind';
    for (const [index] of offsets.entries()) table.data.set(AT_START, 6 * index);
    module.file.symbols.splice(1);
    const findings = new Findings();
    const loaded = new Loaded(module.file);
    loaded.relocate(smallKernel({}), findings);
    checkUnwind(loaded, new OwnCode(loaded, findings), { format: FORMAT, alternative: ALTERNATIVE }, findings);
    return findings.list.map(({ message }) => message);
  };
  assert.deepEqual(inside([0, 1, 2, 5]), []);
  for (const offset of [3, 4])
    assert.deepEqual(inside([0, offset]), ['.orc_unwind_ip, entry 1 leads to no instruction of the livepatch']);
});
