import type { Section } from '@kmend/elf';
import { type Address, lastNotAbove } from './address.ts';
import type { Findings } from './finding.ts';
import type { Loaded } from './loaded.ts';
import { isNameless, type OwnCode } from './own-code.ts';

/** struct orc_entry (arch/x86/include/asm/orc_types.h): two offsets, then registers in four bits each. */
const ENTRY_SIZE = 6;
const ORC_REG_SP = 5;
/** Where the stack pointer was before the call that began the function: behind the return address. */
const AT_START = 8;

/**
 * Each entry of the unwinder's table is of code of the livepatch, there are as many as it has places, and every
 * function begins with an entry. Where padding in front belongs to a function (objtool --prefix), the entry begins
 * there, or is even the last one of the function before, if nothing changed since: it then must say what holds where a
 * function begins.
 */
export function checkUnwind(loaded: Loaded, own: OwnCode, findings: Findings): void {
  const find = (name: string): Section | undefined => loaded.file.sections.find((section) => section.name === name);
  const places = find('.orc_unwind_ip');
  const entries = find('.orc_unwind');
  if (places === undefined || entries === undefined) {
    findings.add('table-astray', 'the livepatch has no table for the unwinder, without which no transition ends');
    return;
  }
  if (places.size % 4 !== 0 || entries.size !== (places.size / 4) * ENTRY_SIZE) {
    findings.add('table-astray', `.orc_unwind has ${entries.size} bytes for ${places.size / 4} places`);
    return;
  }
  const base = loaded.base(places) ?? 0;
  const memory = loaded.memory(places);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const begun = new Map<Address, number>();
  for (let at = 0; at + 4 <= places.size; at += 4) {
    const target = base + at + view.getInt32(at, true);
    begun.set(target, at / 4);
    const place = loaded.at(target);
    const found = own.functionAt(target);
    const isInside = found?.function.boundaries.has(found.offset) ?? true;
    if (place === undefined || !loaded.isCode(place.section) || !isInside) {
      findings.add('table-astray', `.orc_unwind_ip, entry ${at / 4} leads to no instruction of the livepatch`);
    }
  }
  const sorted = [...begun.keys()].sort((a, b) => a - b);
  const covers = (address: Address): boolean => {
    const before = sorted[lastNotAbove(sorted, address)];
    const index = before === undefined ? undefined : begun.get(before);
    if (before === undefined || index === undefined) return false;
    return loaded.at(before)?.section === loaded.at(address)?.section && isAtStart(loaded.memory(entries), index);
  };
  for (const one of own.functions) {
    const { name, address } = one;
    if (!isNameless(one) && !begun.has(address) && !covers(address))
      findings.add('table-astray', `the unwinder's table has no entry for ${name}`, { symbol: name });
  }
}

function isAtStart(entries: Uint8Array, index: number): boolean {
  const view = new DataView(entries.buffer, entries.byteOffset + index * ENTRY_SIZE, ENTRY_SIZE);
  return view.getInt16(0, true) === AT_START && (view.getUint8(4) & 0xf) === ORC_REG_SP;
}
