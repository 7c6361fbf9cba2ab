import type { Section } from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import { type Address, lastNotAbove } from './address.ts';
import { placesInReplacements } from './alternatives.ts';
import type { Findings } from './finding.ts';
import type { Loaded } from './loaded.ts';
import { isNameless, type OwnCode } from './own-code.ts';
import { AT_START, ENTRY_SIZE, registerOf, type UnwindFormat } from './unwind-format.ts';

/** What the shipped kernel says of tables. */
export interface UnwindTables {
  readonly format: UnwindFormat;
  /** Of `struct alt_instr`. */
  readonly alternative: StructLayout | undefined;
}

/**
 * Each entry of the unwinder's table is of code of the livepatch, there are as many as it has places, and every
 * function begins with an entry. Where padding in front belongs to a function (objtool --prefix), the entry begins
 * there, or is even the last one of the function before, if nothing changed since: it then must say what holds where a
 * function begins. The table is in the kernel's own format.
 */
export function checkUnwind(
  loaded: Loaded,
  own: OwnCode,
  { format, alternative }: UnwindTables,
  findings: Findings,
): void {
  const find = (name: string): Section | undefined => loaded.file.sections.find((section) => section.name === name);
  const places = find('.orc_unwind_ip');
  const entries = find('.orc_unwind');
  if (places === undefined || entries === undefined) {
    findings.add('table-astray', 'the livepatch has no table for the unwinder, without which no transition ends');
    return;
  }
  const header = find('.orc_header')?.data;
  if (format.header !== undefined && !(header !== undefined && Buffer.from(header).equals(format.header))) {
    findings.add('table-astray', "the table for the unwinder is not in the format of the kernel's (.orc_header)");
    return;
  }
  if (places.size % 4 !== 0 || entries.size !== (places.size / 4) * ENTRY_SIZE) {
    findings.add('table-astray', `.orc_unwind has ${entries.size} bytes for ${places.size / 4} places`);
    return;
  }
  const base = loaded.base(places) ?? 0;
  const memory = loaded.memory(places);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const replaced = placesInReplacements(loaded, alternative);
  const begun = new Map<Address, number>();
  for (let at = 0; at + 4 <= places.size; at += 4) {
    const target = base + at + view.getInt32(at, true);
    begun.set(target, at / 4);
    const place = loaded.at(target);
    const found = own.functionAt(target);
    const isInside = replaced.has(target) || (found?.function.boundaries.has(found.offset) ?? true);
    if (place === undefined || !loaded.isCode(place.section) || !isInside) {
      findings.add('table-astray', `.orc_unwind_ip, entry ${at / 4} leads to no instruction of the livepatch`);
    }
  }
  const sorted = [...begun.keys()].sort((a, b) => a - b);
  const covers = (address: Address): boolean => {
    const before = sorted[lastNotAbove(sorted, address)];
    const index = before === undefined ? undefined : begun.get(before);
    if (before === undefined || index === undefined) return false;
    return (
      loaded.at(before)?.section === loaded.at(address)?.section && isAtStart(loaded.memory(entries), index, format)
    );
  };
  for (const one of own.functions) {
    const { name, address } = one;
    if (!isNameless(one) && !begun.has(address) && !covers(address))
      findings.add('table-astray', `the unwinder's table has no entry for ${name}`, { symbol: name });
  }
}

function isAtStart(entries: Uint8Array, index: number, { stackPointer }: UnwindFormat): boolean {
  const view = new DataView(entries.buffer, entries.byteOffset + index * ENTRY_SIZE, ENTRY_SIZE);
  return view.getInt16(0, true) === AT_START && registerOf(view, 0) === stackPointer;
}
