import {
  EM_X86_64,
  ET_DYN,
  ET_EXEC,
  ET_REL,
  relocationSize,
  SHF_ALLOC,
  SHF_COMPRESSED,
  SHF_LINK_ORDER,
  SHF_RELA_LIVEPATCH,
  SHN_LORESERVE,
  SHN_UNDEF,
  SHN_XINDEX,
  SHT_GROUP,
  SHT_NOBITS,
  SHT_NULL,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  SHT_SYMTAB_SHNDX,
  STT_FUNC,
  STT_OBJECT,
} from './constants.ts';
import { ElfError } from './error.ts';
import {
  type ElfFile,
  type ElfSymbol,
  type LivepatchRelocations,
  type Relocation,
  type Section,
  type Segment,
  sectionOf,
} from './model.ts';

const HEADER_SIZE = 64;
const SECTION_HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const SYMBOL_SIZE = 24;
const RELA_SIZE = 24;

/**
 * No part of a kernel is larger or aligned more widely: 2 GiB is what its code model addresses, 2 MiB its largest page
 * in an object.
 */
const LARGEST_SECTION = 2 ** 31;
const WIDEST_ALIGN = 2 ** 21;

interface RawSection {
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: number;
  readonly address: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
}

/** A file with bounds: every read outside it is `elf-truncated`. */
class Bytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  slice(offset: number, size: number, what: string): Uint8Array {
    if (offset + size > this.bytes.length) {
      throw new ElfError(
        'elf-truncated',
        `${what} lies at ${offset}..${offset + size}, the file ends at ${this.bytes.length}`,
      );
    }
    return this.bytes.subarray(offset, offset + size);
  }

  /** A 64-bit field that must be usable as an offset or a size. */
  number64(offset: number, what: string): number {
    const value = this.view.getBigUint64(offset, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ElfError('elf-inconsistent', `${what} is ${value}`);
    return Number(value);
  }
}

/**
 * Reads an ELF64 x86-64 file. The result's data are views into `bytes`. Cost is linear in the file's size whatever the
 * headers claim. Errors: ElfError.
 */
export function readElf(bytes: Uint8Array): ElfFile {
  const file = new Bytes(bytes);
  const type = checkHeader(file);
  const raw = readSectionHeaders(file);
  const nameTable = raw.length === 0 ? undefined : raw[sectionNameIndex(file, raw)];
  const names = nameTable === undefined ? undefined : stringTable(file, nameTable);
  const sections = raw.map(
    (header, index): Section => ({
      name: names === undefined ? '' : names(header.nameOffset),
      type: header.type,
      flags: header.flags,
      address: header.address,
      align: header.align,
      entrySize: header.entrySize,
      data:
        header.type === SHT_NOBITS || header.type === SHT_NULL
          ? new Uint8Array(0)
          : file.slice(header.offset, header.size, `section ${index}`),
      size: header.size,
      relocations: [],
      index,
    }),
  );
  const symbolTables = raw.flatMap((header, index) => (header.type === SHT_SYMTAB ? [index] : []));
  if (symbolTables.length > 1)
    throw new ElfError('elf-unsupported', `the file has ${symbolTables.length} symbol tables`);
  const symbolTable = symbolTables[0];
  const symbols = symbolTable === undefined ? [] : readSymbols(file, raw, sections, symbolTable);
  linkOrder(raw, sections);
  if (type === ET_REL) symbols.forEach(checkInside);
  const livepatchRelocations = type === ET_REL ? readRelocations(raw, sections, symbols, symbolTable) : [];
  const tables = new Set([SHT_NULL, SHT_SYMTAB, SHT_SYMTAB_SHNDX, SHT_GROUP, ...(type === ET_REL ? [SHT_RELA] : [])]);
  const bookkeeping = new Set<number>();
  if (symbolTable !== undefined) bookkeeping.add(raw[symbolTable]?.link ?? 0);
  if (raw.length > 0) bookkeeping.add(sectionNameIndex(file, raw));
  return {
    type,
    sections: sections.filter((section, index) => !tables.has(section.type) && !bookkeeping.has(index)),
    symbols: symbols.slice(1),
    livepatchRelocations,
    segments: readSegments(file),
  };
}

function checkHeader(file: Bytes): number {
  const { bytes, view } = file;
  if (bytes.length < 4 || view.getUint32(0, false) !== 0x7f454c46) {
    throw new ElfError('elf-not-elf', 'not an ELF file: the magic bytes are missing');
  }
  if (bytes.length < HEADER_SIZE) throw new ElfError('elf-truncated', 'the file ends inside the ELF header');
  if (bytes[4] !== 2 || bytes[5] !== 1) {
    throw new ElfError('elf-unsupported', 'only 64-bit little-endian ELF files are read');
  }
  const machine = view.getUint16(18, true);
  if (machine !== EM_X86_64) throw new ElfError('elf-unsupported', `machine ${machine} is not x86-64`);
  const type = view.getUint16(16, true);
  if (type !== ET_REL && type !== ET_EXEC && type !== ET_DYN) {
    throw new ElfError('elf-unsupported', `ELF type ${type} is not read`);
  }
  return type;
}

function readSectionHeaders(file: Bytes): RawSection[] {
  const { view } = file;
  const offset = file.number64(40, 'e_shoff');
  if (offset === 0) return [];
  if (view.getUint16(58, true) !== SECTION_HEADER_SIZE) {
    throw new ElfError('elf-inconsistent', `e_shentsize is ${view.getUint16(58, true)}`);
  }
  file.slice(offset, SECTION_HEADER_SIZE, 'the first section header');
  // gABI: with 0xff00 sections or more the count is in the null section's sh_size.
  const count = view.getUint16(60, true) || file.number64(offset + 32, 'section count');
  file.slice(offset, count * SECTION_HEADER_SIZE, 'the section header table');
  const headers = Array.from({ length: count }, (_, index): RawSection => {
    const at = offset + index * SECTION_HEADER_SIZE;
    return {
      nameOffset: view.getUint32(at, true),
      type: view.getUint32(at + 4, true),
      flags: file.number64(at + 8, 'sh_flags'),
      address: view.getBigUint64(at + 16, true),
      offset: file.number64(at + 24, 'sh_offset'),
      size: index === 0 ? 0 : file.number64(at + 32, 'sh_size'),
      link: view.getUint32(at + 40, true),
      info: view.getUint32(at + 44, true),
      align: file.number64(at + 48, 'sh_addralign'),
      entrySize: file.number64(at + 56, 'sh_entsize'),
    };
  });
  checkSections(file, headers);
  return headers;
}

/**
 * What would let later stages work on, copy or allocate far more than the file has. gABI: sections do not overlap,
 * alignments are powers of two; no flag above the 32nd bit is defined.
 */
function checkSections(file: Bytes, headers: readonly RawSection[]): void {
  let total = 0;
  for (const [index, { type, flags, size, align }] of headers.entries()) {
    if (flags > 0xffff_ffff || size > LARGEST_SECTION || align > WIDEST_ALIGN || (align & (align - 1)) !== 0) {
      throw new ElfError('elf-inconsistent', `section ${index} has impossible flags, size or alignment`);
    }
    if (type !== SHT_NOBITS && type !== SHT_NULL) total += size;
  }
  if (total > file.bytes.length) throw new ElfError('elf-inconsistent', 'sections overlap');
}

function sectionNameIndex(file: Bytes, raw: readonly RawSection[]): number {
  const index = file.view.getUint16(62, true);
  const real = index === SHN_XINDEX ? (raw[0]?.link ?? 0) : index;
  if (raw[real]?.type !== SHT_STRTAB)
    throw new ElfError('elf-inconsistent', `section ${real} is not the section name table`);
  return real;
}

/**
 * Look-up in a string table; strings end at a NUL inside the table. Names may share their ends, but not so often that
 * they come to a multiple of the table.
 */
function stringTable(file: Bytes, header: RawSection): (offset: number) => string {
  const data = Buffer.from(file.slice(header.offset, header.size, 'a string table'));
  const known = new Map<number, string>();
  let budget = 4096 + data.length * 4;
  return (offset) => {
    const cached = known.get(offset);
    if (cached !== undefined) return cached;
    const end = data.indexOf(0, offset);
    if (offset >= data.length || end === -1) {
      throw new ElfError('elf-inconsistent', `string offset ${offset} is outside its table of ${data.length} bytes`);
    }
    budget -= end - offset;
    if (budget < 0) throw new ElfError('elf-inconsistent', 'the names in a string table overlap too much');
    const text = data.toString('latin1', offset, end);
    known.set(offset, text);
    return text;
  };
}

function readSymbols(
  file: Bytes,
  raw: readonly RawSection[],
  sections: readonly Section[],
  tableIndex: number,
): ElfSymbol[] {
  const table = raw[tableIndex];
  const strings = table === undefined ? undefined : raw[table.link];
  if (table === undefined || strings === undefined || strings.type !== SHT_STRTAB || table.size % SYMBOL_SIZE !== 0) {
    throw new ElfError('elf-inconsistent', 'the symbol table has no string table or a broken size');
  }
  const data = file.slice(table.offset, table.size, 'the symbol table');
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const name = stringTable(file, strings);
  const extended = raw.findIndex((header) => header.type === SHT_SYMTAB_SHNDX && header.link === tableIndex);
  const extendedData = sections[extended]?.data;
  const symbols: ElfSymbol[] = [];
  for (let at = 0, index = 0; at < data.length; at += SYMBOL_SIZE, index++) {
    const info = view.getUint8(at + 4);
    let shndx = view.getUint16(at + 6, true);
    const isExtended = shndx === SHN_XINDEX;
    if (isExtended) {
      if (extendedData === undefined || extendedData.length < index * 4 + 4) {
        throw new ElfError('elf-inconsistent', `symbol ${index} needs an extended section index that is not there`);
      }
      shndx = new DataView(extendedData.buffer, extendedData.byteOffset).getUint32(index * 4, true);
    }
    const size = view.getBigUint64(at + 16, true);
    if (size > BigInt(Number.MAX_SAFE_INTEGER))
      throw new ElfError('elf-inconsistent', `symbol ${index} has size ${size}`);
    symbols.push({
      name: name(view.getUint32(at, true)),
      value: view.getBigUint64(at + 8, true),
      size: Number(size),
      bind: info >> 4,
      type: info & 0xf,
      other: view.getUint8(at + 5),
      place:
        shndx === SHN_UNDEF || (shndx >= SHN_LORESERVE && !isExtended)
          ? shndx
          : sectionAt(sections, shndx, `symbol ${index}`),
    });
  }
  return symbols;
}

/** In a relocatable object a symbol's value counts from its section's start; functions and variables lie inside. */
function checkInside(symbol: ElfSymbol): void {
  const section = sectionOf(symbol);
  if (section === undefined || (symbol.type !== STT_FUNC && symbol.type !== STT_OBJECT)) return;
  if (symbol.value + BigInt(symbol.size) > BigInt(section.size)) {
    throw new ElfError('elf-inconsistent', `${symbol.name} ends outside its section ${section.name}`);
  }
}

function sectionAt(sections: readonly Section[], index: number, who: string): Section {
  const section = sections[index];
  if (section === undefined)
    throw new ElfError('elf-inconsistent', `${who} names section ${index} of ${sections.length}`);
  return section;
}

function readRelocations(
  raw: readonly RawSection[],
  sections: readonly Section[],
  symbols: readonly ElfSymbol[],
  symbolTable: number | undefined,
): LivepatchRelocations[] {
  const livepatch: LivepatchRelocations[] = [];
  raw.forEach((header, index) => {
    if (header.type !== SHT_RELA) return;
    const target = sectionAt(sections, header.info, `relocation section ${index}`);
    const own = sectionAt(sections, index, 'the file');
    const forLivepatch = (header.flags & SHF_RELA_LIVEPATCH) !== 0;
    if (
      header.link !== symbolTable ||
      header.size % RELA_SIZE !== 0 ||
      target.type === SHT_RELA ||
      (!forLivepatch && target.relocations.length > 0)
    ) {
      throw new ElfError('elf-inconsistent', `relocation section ${own.name} has a bad link, size or target`);
    }
    const relocations: Relocation[] = [];
    const { data } = own;
    const limit = BigInt(unpackedSize(target));
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < data.length; at += RELA_SIZE) {
      const offset = view.getBigUint64(at, true);
      const type = view.getUint32(at + 8, true);
      const symbol = symbols[view.getUint32(at + 12, true)];
      // A type that is not known here has one byte at least.
      if (symbol === undefined || offset + BigInt(relocationSize(type) ?? 1) > limit) {
        throw new ElfError(
          'elf-inconsistent',
          `${own.name}: entry ${at / RELA_SIZE} points outside its symbols or section`,
        );
      }
      relocations.push({
        offset: Number(offset),
        type,
        symbol,
        addend: view.getBigInt64(at + 16, true),
      });
    }
    if (forLivepatch) livepatch.push({ name: own.name, target, relocations });
    else target.relocations = relocations;
  });
  return livepatch;
}

/**
 * Relocations of a compressed section count in what it unpacks to: `ch_size` of its header (gABI, "Section
 * Compression"), or what stands behind `ZLIB` in the GNU tools' older way.
 */
function unpackedSize(section: Section): number | bigint {
  const { data, flags, name } = section;
  // What is loaded is never compressed.
  if (data.length < 16 || (flags & SHF_ALLOC) !== 0) return data.length;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if ((flags & SHF_COMPRESSED) !== 0) return view.getBigUint64(8, true);
  return name.startsWith('.zdebug') ? view.getBigUint64(4, false) : data.length;
}

function linkOrder(raw: readonly RawSection[], sections: readonly Section[]): void {
  raw.forEach((header, index) => {
    if ((header.flags & SHF_LINK_ORDER) === 0 || header.link === 0) return;
    sectionAt(sections, index, 'the file').linkedTo = sectionAt(sections, header.link, `section ${index}`);
  });
}

function readSegments(file: Bytes): Segment[] {
  const offset = file.number64(32, 'e_phoff');
  const count = file.view.getUint16(56, true);
  if (offset === 0 || count === 0) return [];
  if (file.view.getUint16(54, true) !== PROGRAM_HEADER_SIZE)
    throw new ElfError('elf-inconsistent', 'e_phentsize is not 56');
  file.slice(offset, count * PROGRAM_HEADER_SIZE, 'the program header table');
  return Array.from({ length: count }, (_, index) => {
    const at = offset + index * PROGRAM_HEADER_SIZE;
    return {
      type: file.view.getUint32(at, true),
      flags: file.view.getUint32(at + 4, true),
      offset: file.number64(at + 8, 'p_offset'),
      virtualAddress: file.view.getBigUint64(at + 16, true),
      physicalAddress: file.view.getBigUint64(at + 24, true),
      fileSize: file.number64(at + 32, 'p_filesz'),
      memorySize: file.number64(at + 40, 'p_memsz'),
    };
  });
}
