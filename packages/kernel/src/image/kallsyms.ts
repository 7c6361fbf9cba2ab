import { KernelError } from '../error.ts';
import type { KernelSymbol } from '../kernel.ts';

/**
 * Decodes the symbol table that the kernel itself uses (scripts/kallsyms.c writes it, kernel/kallsyms.c reads it) from the bytes of a
 * vmlinux. The tables have no headers and no fixed order, so each is found by its structure and accepted only when another
 * one confirms it. In kallsyms order: by address, as `sympos` counts.
 */
export function decodeKallsyms(vmlinux: Uint8Array): KernelSymbol[] {
  const bytes = Buffer.from(vmlinux.buffer, vmlinux.byteOffset, vmlinux.byteLength);
  for (const tokens of findTokens(bytes)) {
    const names = findNames(bytes, tokens);
    if (names === undefined) continue;
    const addresses = findAddresses(bytes, tokens, names);
    if (addresses === undefined) continue;
    return names.texts.map((text, index) => ({
      name: text.slice(1),
      type: text.slice(0, 1),
      address: addresses[index] ?? 0n,
    }));
  }
  throw new KernelError('kallsyms-not-found', 'the kernel image has no symbol table that can be decoded', {
    hint: 'CONFIG_KALLSYMS_ALL is needed; if the kernel has it, its layout is new: please report the release',
  });
}

interface Tokens {
  readonly start: number;
  /** First byte behind token_index, aligned. */
  readonly end: number;
  readonly table: readonly string[];
}

interface Names {
  /** Position of kallsyms_num_syms. */
  readonly countAt: number;
  readonly count: number;
  /** Type letter and name. */
  readonly texts: readonly string[];
}

const align8 = (value: number): number => Math.ceil(value / 8) * 8;

/** kallsyms_token_table, by the tokens of the digits (each digit stands for itself), confirmed by the token_index behind it. */
function* findTokens(bytes: Buffer): Generator<Tokens> {
  const digits = Buffer.from('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00', 'latin1');
  for (let at = bytes.indexOf(digits); at !== -1; at = bytes.indexOf(digits, at + 1)) {
    let start = at;
    for (let token = 0x30; token > 0 && start > 1; token--) start = bytes.lastIndexOf(0, start - 2) + 1;
    const table: string[] = [];
    const offsets = Buffer.alloc(512);
    let position = start;
    for (let token = 0; token < 256; token++) {
      const end = bytes.indexOf(0, position);
      if (end === -1 || end - position > 128) break;
      offsets.writeUInt16LE((position - start) & 0xffff, token * 2);
      table.push(bytes.toString('latin1', position, end));
      position = end + 1;
    }
    const index = align8(position);
    if (table.length === 256 && bytes.subarray(index, index + 512).equals(offsets)) {
      yield { start, end: align8(index + 512), table };
    }
  }
}

const MAX_SYMBOLS = 2_000_000;
const MAX_TABLE_BYTES = 64 << 20;

/** kallsyms_num_syms and kallsyms_names, in front of the tokens: the count whose walk over the names reproduces kallsyms_markers. */
function findNames(bytes: Buffer, tokens: Tokens): Names | undefined {
  const first = align8(Math.max(0, tokens.start - MAX_TABLE_BYTES));
  for (let at = tokens.start - 16; at >= first; at -= 8) {
    const count = bytes.readUInt32LE(at);
    if (count < 100 || count > MAX_SYMBOLS || bytes.readUInt32LE(at + 4) !== 0) continue;
    const texts = walkNames(bytes, at + 8, count, tokens);
    if (texts !== undefined) return { countAt: at, count, texts };
  }
  return undefined;
}

function walkNames(bytes: Buffer, start: number, count: number, tokens: Tokens): string[] | undefined {
  const markers: number[] = [];
  let position = start;
  // First the lengths alone: wrong candidates fail here, cheaply.
  for (let symbol = 0; symbol < count; symbol++) {
    if ((symbol & 0xff) === 0) markers.push(position - start);
    const length = bytes[position] ?? 0;
    if (length === 0) return undefined;
    // Since 6.1 a length of 128 or more takes two bytes, low seven bits first.
    position += length < 0x80 ? 1 + length : 2 + ((length & 0x7f) | ((bytes[position + 1] ?? 0) << 7));
    if (position > tokens.start) return undefined;
  }
  const markersAt = align8(position);
  if (!markers.every((marker, index) => bytes.readUInt32LE(markersAt + index * 4) === marker)) return undefined;
  const texts: string[] = [];
  position = start;
  for (let symbol = 0; symbol < count; symbol++) {
    let length = bytes[position++] ?? 0;
    if (length >= 0x80) length = (length & 0x7f) | ((bytes[position++] ?? 0) << 7);
    let text = '';
    for (const end = position + length; position < end; position++) text += tokens.table[bytes[position] ?? 0] ?? '';
    texts.push(text);
  }
  return texts;
}

/**
 * kallsyms_offsets and kallsyms_relative_base: in front of the count (up to 6.3) or behind the token index (since 6.4). With
 * KALLSYMS_ABSOLUTE_PERCPU (up to 6.14) a negative offset counts down from the base and others are absolute; later all are plain.
 */
function findAddresses(bytes: Buffer, tokens: Tokens, names: Names): bigint[] | undefined {
  const size = align8(names.count * 4);
  for (const offsetsAt of [names.countAt - 8 - size, tokens.end]) {
    if (offsetsAt < 0 || offsetsAt + size + 8 > bytes.length) continue;
    const base = bytes.readBigUInt64LE(offsetsAt + size);
    if (base < 0xffff_ffff_8000_0000n) continue;
    for (const decode of [
      (offset: number) => (offset >= 0 ? BigInt(offset) : base - 1n - BigInt(offset)),
      (offset: number) => base + BigInt(offset >>> 0),
    ]) {
      const addresses = Array.from({ length: names.count }, (_, index) =>
        decode(bytes.readInt32LE(offsetsAt + index * 4)),
      );
      if (isSorted(addresses) && hasText(addresses, names, base)) return addresses;
    }
  }
  return undefined;
}

function isSorted(addresses: readonly bigint[]): boolean {
  return addresses.every((address, index) => index === 0 || address >= (addresses[index - 1] ?? 0n));
}

/** `_stext` and `_etext` enclose code in the upper half: wrong decodings put them elsewhere. */
function hasText(addresses: readonly bigint[], names: Names, base: bigint): boolean {
  const at = (name: string): bigint | undefined => {
    const index = names.texts.findIndex((text) => text.slice(1) === name);
    return index === -1 ? undefined : addresses[index];
  };
  const start = at('_stext');
  const end = at('_etext');
  return start !== undefined && end !== undefined && start >= base && end > start;
}
