import { type Field, mutateBytes, mutateField, mutateLength, type Random } from '@kmend/base/testing';
import { SHT_RELA, SHT_STRTAB, SHT_SYMTAB } from '../constants.ts';

const SECTION_HEADER = 64;
const ENTRY = 24;

/** Offsets and sizes of the ELF header's fields (gABI, "ELF Header"), without the identification. */
const HEADER_FIELDS: readonly Field[] = [
  { at: 16, width: 2 },
  { at: 18, width: 2 },
  { at: 32, width: 8 },
  { at: 40, width: 8 },
  { at: 52, width: 2 },
  { at: 54, width: 2 },
  { at: 56, width: 2 },
  { at: 58, width: 2 },
  { at: 60, width: 2 },
  { at: 62, width: 2 },
];
const SECTION_FIELDS: readonly Field[] = [
  { at: 0, width: 4 },
  { at: 4, width: 4 },
  { at: 8, width: 8 },
  { at: 16, width: 8 },
  { at: 24, width: 8 },
  { at: 32, width: 8 },
  { at: 40, width: 4 },
  { at: 44, width: 4 },
  { at: 48, width: 8 },
  { at: 56, width: 8 },
];
const SYMBOL_FIELDS: readonly Field[] = [
  { at: 0, width: 4 },
  { at: 4, width: 1 },
  { at: 5, width: 1 },
  { at: 6, width: 2 },
  { at: 8, width: 8 },
  { at: 16, width: 8 },
];
const RELA_FIELDS: readonly Field[] = [
  { at: 0, width: 8 },
  { at: 8, width: 4 },
  { at: 12, width: 4 },
  { at: 16, width: 8 },
];

interface Table {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

/**
 * A sound ELF64 file with a few of its structures broken: headers, symbols, relocations, strings, links, or just bytes.
 */
export function mutateElf(random: Random, sound: Uint8Array): Buffer {
  const bytes = Buffer.from(sound);
  const headersAt = Number(bytes.readBigUInt64LE(40));
  const count = bytes.readUInt16LE(60);
  const header = (index: number): number => headersAt + index * SECTION_HEADER;
  const tables = Array.from({ length: count }, (_, index): Table => {
    const at = header(index);
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
    };
  });
  const entryIn = (type: number): number | undefined => {
    const found = tables.filter((table) => table.type === type && table.size >= ENTRY);
    if (found.length === 0) return undefined;
    const { offset, size } = random.pick(found);
    return offset + random.below(Math.floor(size / ENTRY)) * ENTRY;
  };
  const mutateAt = (start: number | undefined, fields: readonly Field[]): void => {
    const { at, width } = random.pick(fields);
    if (start !== undefined) mutateField(random, bytes, { at: start + at, width });
  };
  for (let change = random.below(4); change >= 0; change--) {
    const one = header(random.below(count));
    const other = header(random.below(count));
    switch (random.below(10)) {
      case 0:
        mutateAt(0, HEADER_FIELDS);
        break;
      case 1:
      case 2:
        mutateAt(one, SECTION_FIELDS);
        break;
      case 3:
      case 4:
        mutateAt(entryIn(SHT_SYMTAB), SYMBOL_FIELDS);
        break;
      case 5:
      case 6:
        mutateAt(entryIn(SHT_RELA), RELA_FIELDS);
        break;
      case 7: {
        // Sections swapped, or one lying where another does.
        const swapped = Buffer.from(bytes.subarray(one, one + SECTION_HEADER));
        const part = random.pick([SECTION_HEADER, 8, 40]);
        const from = part === 8 ? 24 : 0;
        bytes.copy(bytes, one + from, other + from, other + from + part);
        if (random.chance(2)) swapped.copy(bytes, other + from, from, from + part);
        break;
      }
      case 8: {
        // A loop: links and targets that lead back to the section itself.
        const field = one + random.pick([40, 44]);
        bytes.writeUInt32LE((one - headersAt) / SECTION_HEADER, field);
        break;
      }
      default: {
        const strings = tables.filter(({ type, size }) => type === SHT_STRTAB && size > 0);
        const table = random.chance(2) && strings.length > 0 ? random.pick(strings) : undefined;
        mutateBytes(random, bytes, table?.offset, table === undefined ? undefined : table.offset + table.size);
      }
    }
  }
  return random.chance(12) ? mutateLength(random, bytes) : bytes;
}
