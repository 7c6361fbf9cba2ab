import type { ElfFile } from '@kmend/elf';
import type { ObjectView } from '../object/view.ts';
import type { Check, ComparedTable } from './model.ts';
import type { SymbolList } from './symbols.ts';

/** Sections that only objtool makes. */
const OBJTOOL = /^\.(?:orc_unwind|return_sites|retpoline_sites|static_call_sites|call_sites|ibt_endbr_seal)$/;

export function comparedTables(original: ObjectView, patched: ObjectView): ComparedTable[] {
  return [...new Map([...original.tables, ...patched.tables])].map(([section, { entrySize, from }]) => ({
    section,
    entrySize,
    from,
  }));
}

/** What was checked beside code and data, and what was not and why. */
export function checksOf(
  views: readonly [ObjectView, ObjectView],
  types: Check,
  module: string | undefined,
  symbols: SymbolList | undefined,
): Check[] {
  return [
    tablesCheck(views),
    types,
    symbolsCheck(module, symbols),
    objtoolCheck(views.map(({ file }) => file)),
    {
      check: 'byte-proof',
      made: false,
      note: 'whether the original is what the kernel was shipped with, only kmend build can tell',
    },
  ];
}

function tablesCheck(views: readonly ObjectView[]): Check {
  const check = 'tables';
  if (views.some(({ unclear }) => unclear.length > 0))
    return { check, made: false, note: 'not all: see the reasons with the code table-unclear' };
  const from = new Set(views.flatMap(({ tables }) => [...tables.values()].map((table) => table.from)));
  if (from.has('relocations'))
    return { check, made: true, note: 'entry sizes inferred from the relocations of the tables' };
  if (from.has('entry-size')) return { check, made: true, note: 'entry sizes as the sections say' };
  if (from.has('object-types')) return { check, made: true, note: 'entry sizes from the debug information' };
  if (from.has('kernel-types')) return { check, made: true, note: "entry sizes from the kernel's type information" };
  return { check, made: true, note: 'there are none whose entry size differs between kernels' };
}

function symbolsCheck(module: string | undefined, symbols: SymbolList | undefined): Check {
  const check = 'symbols';
  if (symbols === undefined) {
    const note =
      module === undefined
        ? 'whether the kernel has the symbols, and once: no --symbols given'
        : `whether the kernel exports what is used: no --symbols given; those of ${module} are counted in the original itself`;
    return { check, made: false, note };
  }
  if (symbols.exports === undefined)
    return { check, made: true, note: 'without exports: the list has no __ksymtab_ symbols (CONFIG_KALLSYMS_ALL)' };
  return { check, made: true, note: 'existence, uniqueness and exports' };
}

function objtoolCheck(files: readonly ElfFile[]): Check {
  const check = 'objtool';
  const been = files.map((file) => file.sections.some(({ name }) => OBJTOOL.test(name)));
  if (been.every((value) => value)) return { check, made: true, note: 'both objects have been through objtool' };
  if (!been.some((value) => value)) return { check, made: true, note: 'neither object has been through objtool' };
  return {
    check,
    made: false,
    note: `only the ${been[0] === true ? 'original' : 'patched'} object has been through objtool: instructions that it rewrites count as changes`,
  };
}
