import { type ElfFile, type Relocation, readElf, type Section, SHF_EXECINSTR, sectionOf } from '@kmend/elf';
import type { PatchedObject } from '@kmend/protocol';
import { LabError } from '../error.ts';

/** New code of one replaced function, as a livepatch registers it (struct klp_func, include/linux/livepatch.h). */
export interface RegisteredCode {
  readonly object: string;
  readonly name: string;
  readonly sympos: number;
  readonly source: string;
  /**
   * Section of the module that holds the new function, and where in it: its place in a running kernel is that section's
   * address and this.
   */
  readonly section: string;
  readonly offset: bigint;
}

/**
 * struct klp_func begins with `old_name`, `new_func`, `old_sympos`; struct klp_object with `name`, `funcs`: 8 bytes
 * each.
 */
const WORD = 8;

/**
 * Finds the new code of every function that a livepatch replaces by what the module itself hands to the kernel, not by
 * name: two of its functions may have one name (`show` of two files), and gcc's names (`parse.isra.0`) differ between
 * old and new code. Throws `lab-proof-unsuitable` where module and manifest disagree.
 */
export function registeredCode(module: Uint8Array, objects: readonly PatchedObject[]): RegisteredCode[] {
  const elf = readElf(module);
  const rows = elf.sections.flatMap((section) => rowsOf(section));
  const found = objectsOf(elf, rows);
  return objects.flatMap((object) =>
    object.functions.map(({ name, sympos, source }) => {
      const same = (found.get(object.name) ?? []).filter((row) => row.name === name && row.sympos === sympos);
      const [row] = same;
      if (row === undefined || same.length > 1) {
        throw new LabError(
          'lab-proof-unsuitable',
          `the module registers ${object.name}:${name},${sympos} ${same.length} times, not once`,
          { hint: 'build the livepatch again: livepatch.json and the module beside it do not fit' },
        );
      }
      return { object: object.name, name, sympos, source, section: row.section, offset: row.offset };
    }),
  );
}

interface Row {
  readonly table: Section;
  /** Of the struct klp_func. */
  readonly at: number;
  readonly name: string;
  readonly sympos: number;
  readonly section: string;
  readonly offset: bigint;
}

/** Every struct klp_func of a section: a name, and a pointer to code behind it. */
function rowsOf(table: Section): Row[] {
  const at = new Map(table.relocations.map((relocation) => [relocation.offset, relocation]));
  return table.relocations.flatMap((code) => {
    const name = at.get(code.offset - WORD);
    const place = sectionOf(code.symbol);
    if (name === undefined || place === undefined || (place.flags & SHF_EXECINSTR) === 0) return [];
    const text = textAt(name);
    if (text === undefined || code.offset + 2 * WORD > table.data.length) return [];
    const view = new DataView(table.data.buffer, table.data.byteOffset, table.data.byteLength);
    const sympos = Number(view.getBigUint64(code.offset + WORD, true));
    const offset = code.symbol.value + code.addend;
    return [{ table, at: name.offset, name: text, sympos, section: place.name, offset }];
  });
}

/** Rows by the object whose struct klp_object points to the array that holds them. */
function objectsOf(elf: ElfFile, rows: readonly Row[]): Map<string, Row[]> {
  const starts: { readonly object: string; readonly table: Section; readonly at: number }[] = [];
  for (const section of elf.sections) {
    const at = new Map(section.relocations.map((relocation) => [relocation.offset, relocation]));
    for (const pointer of section.relocations) {
      const table = sectionOf(pointer.symbol);
      const start = Number(pointer.symbol.value + pointer.addend);
      if (!rows.some((row) => row.table === table && row.at === start) || table === undefined) continue;
      const name = at.get(pointer.offset - WORD);
      // The kernel itself has no name there (NULL).
      starts.push({ object: (name && textAt(name)) ?? 'vmlinux', table, at: start });
    }
  }
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    // Arrays do not overlap: a row is of the last one that begins at or before it.
    const mine = starts
      .filter(({ table, at }) => table === row.table && at <= row.at)
      .reduce<(typeof starts)[number] | undefined>(
        (best, start) => (best === undefined || start.at > best.at ? start : best),
        undefined,
      );
    if (mine !== undefined) found.set(mine.object, [...(found.get(mine.object) ?? []), row]);
  }
  return found;
}

/** The string that a pointer leads to; `undefined` if it leads to none. */
function textAt({ symbol, addend }: Relocation): string | undefined {
  const section = sectionOf(symbol);
  if (section === undefined || (section.flags & SHF_EXECINSTR) !== 0) return undefined;
  const start = Number(symbol.value + addend);
  const end = section.data.indexOf(0, start);
  if (start < 0 || end <= start) return undefined;
  return Buffer.from(section.data.subarray(start, end)).toString('latin1');
}
