import type { Section } from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';

/**
 * Sections that hold one entry for each place in code, of all functions of a unit. An entry belongs to the function that its
 * first relocation points into.
 */
export interface TableSpec {
  readonly entrySize: number;
  /** A difference in an entry is a difference of the function. */
  readonly meaningful: boolean;
}

/** Structs whose size is the entry size of a table, in the kernel at hand. */
const STRUCT_OF: Readonly<Record<string, string>> = {
  __bug_table: 'bug_entry',
  __ex_table: 'exception_table_entry',
  '.altinstructions': 'alt_instr',
  __jump_table: 'jump_entry',
  '.parainstructions': 'paravirt_patch_site',
};

export const tableStructs: readonly string[] = Object.values(STRUCT_OF);

/** Sections whose pieces are found by what refers to them: replacement instructions, and code out of line. */
export function isPieceSection(section: Section): boolean {
  return section.name === '.altinstr_replacement' || section.name === '.altinstr_aux';
}

/** How a section is split into entries; `undefined` where it is no table. */
export function tableSpec(section: Section, layouts: ReadonlyMap<string, StructLayout>): TableSpec | undefined {
  const struct = STRUCT_OF[section.name];
  if (struct !== undefined) {
    const size = layouts.get(struct)?.size;
    if (size !== undefined && size > 0) return { entrySize: size, meaningful: true };
  }
  if (section.name === '.smp_locks') return { entrySize: 4, meaningful: true };
  if (section.name === '__mcount_loc' || section.name === '__patchable_function_entries') {
    return { entrySize: 8, meaningful: false };
  }
  // objtool's annotations: one address each, 32-bit relative or 64-bit absolute.
  if (section.name.startsWith('.discard.')) {
    const count = section.relocations.length;
    if (count > 0 && section.size === count * 8) return { entrySize: 8, meaningful: false };
    if (count > 0 && section.size === count * 4) return { entrySize: 4, meaningful: false };
  }
  return undefined;
}
