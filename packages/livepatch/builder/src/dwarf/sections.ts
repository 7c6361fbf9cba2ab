import { inflateSync, zstdDecompressSync } from 'node:zlib';
import { type ElfFile, type ElfSymbol, isPcRelative, relocationSize, type Section, SHF_COMPRESSED } from '@kmend/elf';
import { Cursor, damaged } from './cursor.ts';

/** gABI, "Section Compression": `Elf64_Chdr` and its types. */
const COMPRESSION_HEADER_SIZE = 24;
const ELFCOMPRESS_ZLIB = 1;
const ELFCOMPRESS_ZSTD = 2;

/** The largest debug section that is unpacked: vmlinux itself has 250 MB of .debug_info. */
const LARGEST_SECTION = 512 << 20;

/** One ELF section's share of what is read as a whole. */
export interface Piece {
  readonly section: Section;
  readonly start: number;
  readonly end: number;
}

export interface Joined {
  readonly cursor: Cursor;
  readonly pieces: readonly Piece[];
}

/**
 * All sections of the given names as one, with their relocations applied. Type units lie in COMDAT sections of their
 * own, all called alike: one address space for them makes a reference from one to another an ordinary offset.
 */
export function joinSections(file: ElfFile, name: string, ...more: string[]): Joined {
  const sections = [name, ...more].flatMap((each) => file.sections.filter((section) => section.name === each));
  const contents = sections.map(plainData);
  const pieces: Piece[] = [];
  let size = 0;
  for (const [index, section] of sections.entries()) {
    const start = size;
    size += contents[index]?.length ?? 0;
    pieces.push({ section, start, end: size });
  }
  const [content] = contents;
  if (content !== undefined && contents.length === 1 && sections[0]?.relocations.length === 0) {
    return { cursor: new Cursor(name, content), pieces };
  }
  // A copy: the section's own bytes stay as they were read.
  const bytes = Buffer.concat(contents);
  for (const piece of pieces) relocate(bytes, piece, pieces);
  return { cursor: new Cursor(name, bytes), pieces };
}

function plainData(section: Section): Uint8Array {
  if ((section.flags & SHF_COMPRESSED) === 0) return section.data;
  const { data, name } = section;
  if (data.length < COMPRESSION_HEADER_SIZE) throw damaged(`${name} ends inside its compression header`);
  const header = new Cursor(name, data);
  const type = header.u32();
  header.take(4);
  const size = header.u64();
  if (size > LARGEST_SECTION) throw damaged(`${name} claims to unpack to ${size} bytes`);
  const unpacked = unpack(name, type, data.subarray(COMPRESSION_HEADER_SIZE), size);
  if (unpacked.length !== size) throw damaged(`${name} unpacks to ${unpacked.length} bytes instead of ${size}`);
  return unpacked;
}

function unpack(name: string, type: number, packed: Uint8Array, size: number): Uint8Array {
  if (type !== ELFCOMPRESS_ZLIB && type !== ELFCOMPRESS_ZSTD) throw damaged(`${name} is compressed by method ${type}`);
  const options = { maxOutputLength: Math.max(size, 1) };
  try {
    return type === ELFCOMPRESS_ZLIB ? inflateSync(packed, options) : zstdDecompressSync(packed, options);
  } catch (cause) {
    throw damaged(`${name} does not unpack: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** Writes what the psABI's formulas give. References into a joined section count from the beginning of the whole. */
function relocate(bytes: Buffer, piece: Piece, pieces: readonly Piece[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bases = new Map<ElfSymbol['place'], number>(pieces.map(({ section, start }) => [section, start]));
  // Nearly all relocations name a few section symbols: their base is looked up once.
  let lastSymbol: ElfSymbol | undefined;
  let base = 0;
  for (const { offset, type, symbol, addend } of piece.section.relocations) {
    const size = relocationSize(type);
    // Thread-local offsets and differences occur in locations only, which are not read.
    if (size === undefined || size === 0 || isPcRelative(type)) continue;
    const at = piece.start + offset;
    if (at + size > piece.end) throw damaged(`${piece.section.name}+${offset} is relocated, but ends before`);
    if (symbol !== lastSymbol) {
      lastSymbol = symbol;
      base = (bases.get(symbol.place) ?? 0) + Number(symbol.value);
    }
    if (size === 4) view.setUint32(at, (base + Number(addend)) >>> 0, true);
    else view.setBigUint64(at, BigInt.asUintN(64, BigInt(base) + addend), true);
  }
}
