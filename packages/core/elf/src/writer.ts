import {
  EM_X86_64,
  ET_REL,
  SHF_ALLOC,
  SHF_GROUP,
  SHF_INFO_LINK,
  SHF_RELA_LIVEPATCH,
  SHN_LORESERVE,
  SHT_NOBITS,
  SHT_NULL,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_LOCAL,
} from './constants.ts';
import { ElfError } from './error.ts';
import type { ElfFile, ElfSymbol, Relocation, Section } from './model.ts';

/** Bytes of an object that are written at most; the largest of a kernel has a hundredth of that. */
const LARGEST_FILE = 2 ** 30;

interface OutSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly address: bigint;
  readonly data: Uint8Array;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
}

/**
 * Writes a relocatable object. The same model gives the same bytes. Layout: sections in the model's order, then the
 * relocation tables in the order of their sections, then .symtab, .strtab, .shstrtab. Symbols keep the model's order
 * within local and non-local ones (gABI: locals first).
 */
export function writeElf(file: ElfFile): Uint8Array {
  if (file.type !== ET_REL) throw new ElfError('elf-unsupported', 'only relocatable objects are written');
  const sectionIndex = new Map(file.sections.map((section, index) => [section, index + 1]));
  const symbols = [
    ...file.symbols.filter((symbol) => symbol.bind === STB_LOCAL),
    ...file.symbols.filter((symbol) => symbol.bind !== STB_LOCAL),
  ];
  const symbolIndex = new Map(symbols.map((symbol, index) => [symbol, index + 1]));
  const indexOf = (section: Section, who: string): number => {
    const index = sectionIndex.get(section);
    if (index === undefined)
      throw new ElfError('elf-inconsistent', `${who} refers to section ${section.name}, which is not in the file`);
    return index;
  };
  const tables = [
    ...file.sections
      .filter((section) => section.relocations.length > 0)
      .map((section) => ({
        name: `.rela${section.name}`,
        target: section,
        relocations: section.relocations,
        flags: SHF_INFO_LINK,
      })),
    ...file.livepatchRelocations.map((table) => ({ ...table, flags: SHF_INFO_LINK | SHF_ALLOC | SHF_RELA_LIVEPATCH })),
  ];
  const symtabIndex = 1 + file.sections.length + tables.length;
  if (symtabIndex + 2 >= SHN_LORESERVE)
    throw new ElfError('elf-unsupported', `${file.sections.length} sections are too many`);
  const strings = new StringTable();
  const out: OutSection[] = [
    ...file.sections.map((section) => ({
      name: section.name,
      type: section.type,
      // Groups are not kept: their members are ordinary sections.
      flags: (section.flags & ~SHF_GROUP) >>> 0,
      address: section.address,
      data: section.data,
      size: section.type === SHT_NOBITS ? section.size : section.data.length,
      link: section.linkedTo === undefined ? 0 : indexOf(section.linkedTo, section.name),
      info: 0,
      align: section.align,
      entrySize: section.entrySize,
    })),
    ...tables.map((table) => {
      const data = relocationBytes(table.name, table.relocations, symbolIndex);
      return {
        name: table.name,
        type: SHT_RELA,
        flags: table.flags,
        address: 0n,
        data,
        size: data.length,
        link: symtabIndex,
        info: indexOf(table.target, table.name),
        align: 8,
        entrySize: 24,
      };
    }),
  ];
  const symtab = symbolBytes(symbols, strings, indexOf);
  const locals = symbols.filter((symbol) => symbol.bind === STB_LOCAL).length;
  out.push(table('.symtab', SHT_SYMTAB, symtab, symtabIndex + 1, locals + 1, 8, 24));
  out.push(table('.strtab', SHT_STRTAB, strings.bytes(), 0, 0, 1, 0));
  const names = new StringTable();
  const nameOffsets = [...out.map((section) => names.add(section.name)), names.add('.shstrtab')];
  out.push(table('.shstrtab', SHT_STRTAB, names.bytes(), 0, 0, 1, 0));
  return assemble(out, nameOffsets);
}

function table(
  name: string,
  type: number,
  data: Uint8Array,
  link: number,
  info: number,
  align: number,
  entrySize: number,
): OutSection {
  return { name, type, flags: 0, address: 0n, data, size: data.length, link, info, align, entrySize };
}

/** Names, each kept once, in order of first use. */
class StringTable {
  readonly #offsets = new Map<string, number>([['', 0]]);
  readonly #parts: Buffer[] = [Buffer.from([0])];
  #size = 1;

  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const bytes = Buffer.from(`${text}\0`, 'latin1');
    const offset = this.#size;
    this.#offsets.set(text, offset);
    this.#parts.push(bytes);
    this.#size += bytes.length;
    return offset;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

function symbolBytes(
  symbols: readonly ElfSymbol[],
  strings: StringTable,
  indexOf: (section: Section, who: string) => number,
): Uint8Array {
  const data = Buffer.alloc((symbols.length + 1) * 24);
  symbols.forEach((symbol, index) => {
    const at = (index + 1) * 24;
    data.writeUInt32LE(strings.add(symbol.name), at);
    data[at + 4] = (symbol.bind << 4) | symbol.type;
    data[at + 5] = symbol.other;
    data.writeUInt16LE(
      typeof symbol.place === 'number' ? symbol.place : indexOf(symbol.place, `symbol ${symbol.name}`),
      at + 6,
    );
    data.writeBigUInt64LE(symbol.value, at + 8);
    data.writeBigUInt64LE(BigInt(symbol.size), at + 16);
  });
  return data;
}

function relocationBytes(
  name: string,
  relocations: readonly Relocation[],
  symbolIndex: ReadonlyMap<ElfSymbol, number>,
): Uint8Array {
  const data = Buffer.alloc(relocations.length * 24);
  relocations.forEach((relocation, index) => {
    const at = index * 24;
    const symbol = symbolIndex.get(relocation.symbol);
    if (BigInt.asIntN(64, relocation.addend) !== relocation.addend) {
      throw new ElfError('elf-inconsistent', `${name} has the addend ${relocation.addend}`);
    }
    if (symbol === undefined) {
      throw new ElfError(
        'elf-inconsistent',
        `${name} refers to symbol ${relocation.symbol.name}, which is not in the file`,
      );
    }
    data.writeBigUInt64LE(BigInt(relocation.offset), at);
    data.writeUInt32LE(relocation.type, at + 8);
    data.writeUInt32LE(symbol, at + 12);
    data.writeBigInt64LE(relocation.addend, at + 16);
  });
  return data;
}

function assemble(out: readonly OutSection[], nameOffsets: readonly number[]): Uint8Array {
  let position = 64;
  const offsets = out.map((section) => {
    const align = Math.max(1, section.align);
    position = Math.ceil(position / align) * align;
    const offset = position;
    if (section.type !== SHT_NOBITS) position += section.data.length;
    return offset;
  });
  const headers = Math.ceil(position / 8) * 8;
  if (headers > LARGEST_FILE) throw new ElfError('elf-unsupported', `an object of ${headers} bytes is not written`);
  const bytes = Buffer.alloc(headers + (out.length + 1) * 64);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(ET_REL, 16);
  bytes.writeUInt16LE(EM_X86_64, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(BigInt(headers), 40);
  bytes.writeUInt16LE(64, 52);
  bytes.writeUInt16LE(64, 58);
  bytes.writeUInt16LE(out.length + 1, 60);
  bytes.writeUInt16LE(out.length, 62);
  bytes.writeUInt32LE(SHT_NULL, headers + 4);
  out.forEach((section, index) => {
    const offset = offsets[index] ?? 0;
    bytes.set(section.data, offset);
    const at = headers + (index + 1) * 64;
    bytes.writeUInt32LE(nameOffsets[index] ?? 0, at);
    bytes.writeUInt32LE(section.type, at + 4);
    bytes.writeBigUInt64LE(BigInt(section.flags), at + 8);
    bytes.writeBigUInt64LE(section.address, at + 16);
    bytes.writeBigUInt64LE(BigInt(offset), at + 24);
    bytes.writeBigUInt64LE(BigInt(section.size), at + 32);
    bytes.writeUInt32LE(section.link, at + 40);
    bytes.writeUInt32LE(section.info, at + 44);
    bytes.writeBigUInt64LE(BigInt(section.align), at + 48);
    bytes.writeBigUInt64LE(BigInt(section.entrySize), at + 56);
  });
  return bytes;
}
