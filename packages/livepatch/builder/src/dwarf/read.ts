import type { ElfFile } from '@kmend/elf';
import { DW_AT_dwo_name, DW_AT_GNU_dwo_name } from './constants.ts';
import { Dwarf } from './dwarf.ts';

/**
 * The debug information of an object, or `undefined` where it has none that can be used: `missingDwarf` then says why.
 * Errors: `dwarf-damaged`.
 */
export function readDwarf(file: ElfFile): Dwarf | undefined {
  if (!file.sections.some(({ name, size }) => name === '.debug_info' && size > 0)) return undefined;
  const dwarf = new Dwarf(file);
  return dwarf.units.length > 0 && !isSplit(dwarf) ? dwarf : undefined;
}

/** Why `readDwarf` found nothing, for people: how to compile, so that it does. */
export function missingDwarf(file: ElfFile): string {
  if (file.sections.some(({ name }) => name === '.zdebug_info')) {
    return 'its debug information is compressed in the way before the ELF standard had one (.zdebug_info); compile with -gz=zlib or without -gz';
  }
  if (file.sections.some(({ name, size }) => name === '.debug_info' && size > 0)) {
    return 'its debug information lies in a file of its own (.dwo); compile without -gsplit-dwarf';
  }
  return 'it has no debug information (.debug_info); compile with -g';
}

/** Skeletons tell only where the real units are. */
function isSplit(dwarf: Dwarf): boolean {
  return dwarf.units.every((unit) => {
    const root = dwarf.root(unit);
    return dwarf.has(root, DW_AT_dwo_name) || dwarf.has(root, DW_AT_GNU_dwo_name);
  });
}
