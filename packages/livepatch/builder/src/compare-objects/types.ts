import type { ElfFile } from '@kmend/elf';
import type { UnitChange } from '../compare/compare.ts';
import { compareTypes } from '../compare/types.ts';
import { DW_AT_byte_size, DW_TAG_structure_type } from '../dwarf/constants.ts';
import { missingDwarf, readDwarf } from '../dwarf/index.ts';
import type { Atom } from '../object/atom.ts';
import { type StructSizes, tableStructs } from '../object/tables.ts';
import type { Reason } from '../types.ts';
import type { Check } from './model.ts';

/** Entry sizes of tables from the debug information of an object, where it has the structs. */
export function structSizes(file: ElfFile): StructSizes {
  const dwarf = readDwarf(file);
  const sizes = new Map<string, { readonly size: number; readonly from: 'object-types' }>();
  if (dwarf === undefined) return sizes;
  for (const unit of dwarf.units) {
    for (const entry of dwarf.children(dwarf.root(unit))) {
      if (entry.abbreviation.tag !== DW_TAG_structure_type) continue;
      const name = dwarf.name(entry) ?? '';
      const size = tableStructs.includes(name) ? dwarf.count(entry, DW_AT_byte_size) : undefined;
      if (size !== undefined) sizes.set(name, { size, from: 'object-types' });
    }
  }
  return sizes;
}

/**
 * Types that the changed and new functions touch, where both objects have debug information; a check that was not made
 * otherwise.
 */
export function checkObjectTypes(
  source: string,
  original: ElfFile,
  patched: ElfFile,
  change: UnitChange,
): { readonly reasons: readonly Reason[]; readonly check: Check } {
  const [before, after] = [readDwarf(original), readDwarf(patched)];
  if (before === undefined || after === undefined) {
    const why =
      before === undefined
        ? `of the original object, ${missingDwarf(original)}`
        : `of the patched object, ${missingDwarf(patched)}`;
    const note = `layouts, enumerations and prototypes: ${why}`;
    return { reasons: [], check: { check: 'types', made: false, note } };
  }
  const names = (atoms: Iterable<Atom>): string[] =>
    [...atoms].flatMap(({ kind, symbol }) => (kind === 'function' && symbol !== undefined ? [symbol.name] : []));
  const functions = { changed: names(change.changed.keys()), added: names(change.added) };
  const reasons = compareTypes(source, before, after, functions);
  const note = 'what the changed and new functions touch: layouts, enumerations, constants, variables, prototypes';
  return { reasons, check: { check: 'types', made: true, note } };
}
