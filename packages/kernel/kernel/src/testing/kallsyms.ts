import type { KernelSymbol } from '../kernel.ts';
import { RODATA_ADDRESS } from './vmlinux.ts';

/** The layouts of scripts/kallsyms.c that are decoded: 6.1, 6.12 (since 6.4), 7.2. */
export type Layout = '6.1' | '6.12' | '7.2';

/** Start of kernel text in the made-up tables. */
export const TEXT = 0xffff_ffff_8100_0000n;

export interface Encoding {
  readonly layout: Layout;
  /**
   * KALLSYMS_ABSOLUTE_PERCPU: addresses below the base are written as they are, others count down from it. Not in 7.2.
   */
  readonly absolutePercpu?: boolean;
}

/** Read-only data with the kernel's symbol tables, as scripts/kallsyms.c writes them, in the midst of other data. */
export function encodeKallsyms(symbols: readonly KernelSymbol[], { layout, absolutePercpu }: Encoding): Buffer {
  const align = layout === '7.2' ? 4 : 8;
  const parts: Buffer[] = [];
  const position = (): number => parts.reduce((sum, part) => sum + part.length, 0);
  const add = (part: Buffer): void => {
    parts.push(part, Buffer.alloc((align - ((position() + part.length) % align)) % align));
  };
  const u32 = (values: readonly number[]): Buffer => {
    const buffer = Buffer.alloc(values.length * 4);
    for (const [index, value] of values.entries()) buffer.writeInt32LE(value | 0, index * 4);
    return buffer;
  };
  const base = Buffer.alloc(8);
  base.writeBigUInt64LE(TEXT);
  const offsets = (at: number): Buffer =>
    u32(
      symbols.map(({ address }, index) => {
        if (layout === '7.2') return Number(address - (RODATA_ADDRESS + BigInt(at + index * 4)));
        if (!absolutePercpu) return Number(address - TEXT);
        return address < TEXT ? Number(address) : Number(TEXT - 1n - address);
      }),
    );
  const tokens = tokenTexts();
  const { names, markers } = encodeNames(symbols, tokens);

  add(Buffer.from('other read-only data, with digits 0\x001\x002\x00 in it\0', 'latin1'));
  if (layout === '6.1') {
    add(offsets(position()));
    add(base);
  }
  add(u32([symbols.length]));
  add(names);
  add(u32(markers));
  if (layout === '6.1') add(Buffer.alloc(symbols.length * 3, 1));
  add(Buffer.from(tokens.map((token) => `${token}\0`).join(''), 'latin1'));
  add(tokenIndex(tokens));
  if (layout !== '6.1') add(offsets(position()));
  if (layout === '6.12') add(base);
  if (layout !== '6.1') add(Buffer.alloc(symbols.length * 3, 1));
  add(Buffer.alloc(64, 0xff));
  return Buffer.concat(parts);
}

/** Printable characters stand for themselves; below and above are texts of more, as the compressor makes them. */
function tokenTexts(): string[] {
  return Array.from({ length: 256 }, (_, code) => {
    if (code === 0x80) return 'tcp_';
    return code > 0x20 && code < 0x7f ? String.fromCharCode(code) : `x${code}_`;
  });
}

function tokenIndex(tokens: readonly string[]): Buffer {
  const index = Buffer.alloc(512);
  let offset = 0;
  for (const [token, text] of tokens.entries()) {
    index.writeUInt16LE(offset, token * 2);
    offset += text.length + 1;
  }
  return index;
}

function encodeNames(symbols: readonly KernelSymbol[], tokens: readonly string[]) {
  const names: Buffer[] = [];
  const markers: number[] = [];
  let offset = 0;
  for (const [index, { type, name }] of symbols.entries()) {
    if (index % 256 === 0) markers.push(offset);
    const codes = Buffer.from(`${type}${name}`.replaceAll(tokens[0x80] ?? '', '\x80'), 'latin1');
    const length = codes.length < 0x80 ? [codes.length] : [(codes.length & 0x7f) | 0x80, codes.length >> 7];
    names.push(Buffer.from(length), codes);
    offset += length.length + codes.length;
  }
  return { names: Buffer.concat(names), markers };
}

/**
 * Symbols as a kernel has them: per-cpu ones at 0 when `percpu`, then text and data, some of one name, one of a very
 * long name.
 */
export function sampleSymbols(percpu: boolean): KernelSymbol[] {
  const low = percpu
    ? [
        { type: 'A', name: 'fixed_percpu_data', address: 0n },
        { type: 'A', name: 'cpu_debug_store', address: 0x1000n },
      ]
    : [];
  const many = Array.from({ length: 700 }, (_, index) => ({
    type: index % 3 === 0 ? 'T' : 't',
    name: index % 50 === 0 ? 'duplicate' : `tcp_function_${index}`,
    address: TEXT + 0x100n + BigInt(index * 32),
  }));
  return [
    ...low,
    { type: 'T', name: '_stext', address: TEXT },
    { type: 'T', name: '_text', address: TEXT },
    ...many,
    { type: 't', name: `long_${'n'.repeat(300)}`, address: TEXT + 0x8_0000n },
    { type: 'T', name: '_etext', address: TEXT + 0x10_0000n },
    { type: 'D', name: '_edata', address: TEXT + 0x200_0000n },
  ];
}
