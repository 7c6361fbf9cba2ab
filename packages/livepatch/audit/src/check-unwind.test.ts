import assert from 'node:assert/strict';
import { test } from 'node:test';
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
  checkUnwind(loaded, new OwnCode(loaded, findings), format, findings);
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
