import { isUtf8 } from 'node:buffer';
import {
  type ElfFile,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_MERGE,
  SHF_STRINGS,
  SHF_WRITE,
  SHT_PROGBITS,
  STT_SECTION,
} from '@kmend/elf';
import { ObjectView } from '../object/view.ts';

const LONGEST = 4096;
/**
 * Puts texts into a section of strings of their own. Since 6.15 scripts/module.lds.S joins those of a module with its
 * other constants in `.rodata`, where nothing says where a text ends: what follows it in one file follows it in no
 * other.
 */
export function withTextsApart(file: ElfFile): ElfFile {
  const view = new ObjectView(file, new Map());
  const texts = new Map<string, number>();
  const parts: Buffer[] = [];
  let size = 0;
  const placeOf = (text: Buffer): number => {
    const key = text.toString('latin1');
    const known = texts.get(key);
    if (known !== undefined) return known;
    const place = size;
    texts.set(key, place);
    parts.push(text);
    size += text.length;
    return place;
  };
  const moved: (() => void)[] = [];
  const apart: Section = {
    name: '.rodata.str1.1',
    type: SHT_PROGBITS,
    flags: SHF_ALLOC | SHF_MERGE | SHF_STRINGS,
    address: 0n,
    align: 1,
    entrySize: 1,
    size: 0,
    data: new Uint8Array(0),
    relocations: [],
  };
  const symbol = { name: '', value: 0n, size: 0, bind: 0, type: STT_SECTION, other: 0, place: apart };
  for (const section of file.sections) {
    if ((section.flags & SHF_ALLOC) === 0) continue;
    for (const relocation of section.relocations) {
      const { atom, offset, bias } = view.targetOf(section, relocation);
      if (atom === undefined || atom.kind !== 'anonymous' || !holdsTexts(atom.section)) continue;
      const text = textAt(atom.section.data, atom.start + offset);
      if (text === undefined) continue;
      const place = placeOf(text);
      moved.push(() => Object.assign(relocation, { symbol, addend: BigInt(place) - BigInt(bias) }));
    }
  }
  if (moved.length === 0) return file;
  for (const move of moved) move();
  Object.assign(apart, { data: Buffer.concat(parts), size });
  file.sections.push(apart);
  file.symbols.push(symbol);
  return file;
}

/** Not the constants of one size that gcc and ld keep apart (`.rodata.cst2`): nothing is joined with these. */
function holdsTexts({ flags }: Section): boolean {
  return (flags & (SHF_WRITE | SHF_EXECINSTR | SHF_STRINGS | SHF_MERGE)) === 0;
}

/** With its zero. */
function textAt(data: Uint8Array, start: number): Buffer | undefined {
  const end = data.indexOf(0, start);
  if (start < 0 || end <= start || end - start > LONGEST) return undefined;
  const text = Buffer.from(data.subarray(start, end + 1));
  return isUtf8(text) && text.subarray(0, -1).every(isPrintable) ? text : undefined;
}

/** Also what marks the level of a message (KERN_SOH, include/linux/kern_levels.h). */
function isPrintable(byte: number): boolean {
  return byte >= 0x20 ? byte !== 0x7f : [0x01, 0x09, 0x0a, 0x0d, 0x1b].includes(byte);
}
