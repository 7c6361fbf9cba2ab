import type { Section } from '@kmend/elf';

/** struct orc_entry (arch/x86/include/asm/orc_types.h): two offsets, then registers in four bits each. */
export const ENTRY_SIZE = 6;
/** Where the stack pointer was before the call that began a function: behind the return address. */
export const AT_START = 8;

/** How a kernel writes the unwinder's table. */
export interface UnwindFormat {
  /** Number of the stack pointer among the registers: 5 up to 6.x, 3 in 7.3. `undefined`: the kernel has no table. */
  readonly stackPointer: number | undefined;
  /** `.orc_header`, a hash of the definitions (scripts/orc_hash.sh, since 6.4); `undefined` before. */
  readonly header: Uint8Array | undefined;
}

/**
 * Read from the shipped kernel's own table. Most entries with the offset of a function's beginning are of one, and name
 * the stack pointer.
 */
export function unwindFormat(sections: readonly Pick<Section, 'name' | 'data'>[]): UnwindFormat {
  const dataOf = (name: string): Uint8Array | undefined => sections.find((one) => one.name === name)?.data;
  const counts = new Map<number, number>();
  const entries = dataOf('.orc_unwind') ?? new Uint8Array(0);
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  for (let at = 0; at + ENTRY_SIZE <= entries.length; at += ENTRY_SIZE) {
    if (view.getInt16(at, true) !== AT_START) continue;
    const register = registerOf(view, at);
    counts.set(register, (counts.get(register) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return { stackPointer: most?.[0], header: dataOf('.orc_header') };
}

/** The register that an entry counts its first offset from. */
export function registerOf(view: DataView, entry: number): number {
  return view.getUint8(entry + 4) & 0xf;
}
