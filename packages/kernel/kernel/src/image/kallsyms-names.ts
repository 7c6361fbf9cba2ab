import { alignUp, type Tokens } from './kallsyms-tokens.ts';

export interface Names {
  /** Position of kallsyms_num_syms. */
  readonly countAt: number;
  readonly count: number;
  /** Type letter and name. */
  readonly texts: readonly string[];
}

const MIN_SYMBOLS = 100;
const MAX_SYMBOLS = 2_000_000;
const MAX_TABLE_BYTES = 64 << 20;

/** Longest name that is believed, with its type letter: twice the kernel's limit (KSYM_NAME_LEN of 6.1). */
const MAX_NAME = 1024;

/**
 * Places and names that may be looked at in one search, candidates that turn out wrong included: bounds the time on a
 * damaged image.
 */
export const WALK_BUDGET = 50_000_000;

/**
 * kallsyms_num_syms and kallsyms_names, in front of the tokens: the count whose walk over the names reproduces
 * kallsyms_markers. `budget.steps` goes down with every place and name looked at.
 */
export function findNames(bytes: Buffer, tokens: Tokens, align: number, budget: { steps: number }): Names | undefined {
  const { least, most } = countsByMarkers(bytes, tokens.start, align);
  const first = alignUp(Math.max(0, tokens.start - MAX_TABLE_BYTES), align);
  const last = Math.floor((tokens.start - 16) / align) * align;
  for (let at = last; at >= first && budget.steps > 0; at -= align) {
    budget.steps--;
    const count = bytes.readUInt32LE(at);
    if (count < least || count > most || (align === 8 && bytes.readUInt32LE(at + 4) !== 0)) continue;
    // The shortest name takes two bytes.
    if (at + align + count * 2 > tokens.start) continue;
    if (!reproducesMarkers(bytes, at + align, count, tokens, align, budget)) continue;
    const texts = expand(bytes, at + align, count, tokens);
    if (texts !== undefined) return { countAt: at, count, texts };
  }
  return undefined;
}

/**
 * How many symbols there can be. Where kallsyms_markers lie right in front of the tokens (in all kernels but 6.2 and
 * 6.3), there is one for each 256 names: they ascend from 0. Of the 3 MB of names of 7.2, whose tables are aligned to
 * four bytes only, many places would else look like a count.
 */
function countsByMarkers(bytes: Buffer, end: number, align: number): { readonly least: number; readonly most: number } {
  const any = { least: MIN_SYMBOLS, most: MAX_SYMBOLS };
  // Of an odd number of markers the last is followed by four bytes of padding where tables are aligned to eight.
  const last = align === 8 && bytes.readUInt32LE(end - 4) === 0 ? end - 8 : end - 4;
  let at = last;
  while (at >= 4 && bytes.readUInt32LE(at - 4) < bytes.readUInt32LE(at)) at -= 4;
  const markers = (last - at) / 4 + 1;
  const isTable = bytes.readUInt32LE(at) === 0 && markers > 1;
  return isTable ? { least: Math.max(MIN_SYMBOLS, (markers - 1) * 256 + 1), most: markers * 256 } : any;
}

/**
 * Walks over the lengths alone, so that wrong candidates fail cheaply, then compares kallsyms_markers: each 256th
 * name's offset.
 */
function reproducesMarkers(
  bytes: Buffer,
  start: number,
  count: number,
  tokens: Tokens,
  align: number,
  budget: { steps: number },
): boolean {
  const markers: number[] = [];
  let position = start;
  for (let symbol = 0; symbol < count; symbol++) {
    if (budget.steps-- <= 0) return false;
    if ((symbol & 0xff) === 0) markers.push(position - start);
    const length = bytes[position] ?? 0;
    if (length === 0) return false;
    // Since 6.1 a length of 128 or more takes two bytes, low seven bits first.
    position += length < 0x80 ? 1 + length : 2 + ((length & 0x7f) | ((bytes[position + 1] ?? 0) << 7));
    if (position > tokens.start) return false;
  }
  const at = alignUp(position, align);
  if (at + markers.length * 4 > tokens.start) return false;
  return markers.every((marker, index) => bytes.readUInt32LE(at + index * 4) === marker);
}

function expand(bytes: Buffer, start: number, count: number, tokens: Tokens): string[] | undefined {
  const texts: string[] = [];
  let position = start;
  for (let symbol = 0; symbol < count; symbol++) {
    let length = bytes[position++] ?? 0;
    if (length >= 0x80) length = (length & 0x7f) | ((bytes[position++] ?? 0) << 7);
    if (length > MAX_NAME) return undefined;
    let text = '';
    for (const end = position + length; position < end; position++) text += tokens.table[bytes[position] ?? 0] ?? '';
    if (text.length > MAX_NAME) return undefined;
    texts.push(text);
  }
  return texts;
}
