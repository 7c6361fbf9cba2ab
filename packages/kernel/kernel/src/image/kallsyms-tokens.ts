/** kallsyms_token_table: what each byte of a compressed name stands for. */
export interface Tokens {
  readonly start: number;
  /** First byte behind kallsyms_token_index, aligned. */
  readonly end: number;
  /** 256 texts. */
  readonly table: readonly string[];
}

export function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

/** Longest text of a token that is believed. */
const TOKEN_LIMIT = 128;
/** Places that look like the digits' tokens and are looked at more closely: a kernel has a handful. */
const MAX_CANDIDATES = 10_000;
const DIGITS = Buffer.from('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00', 'latin1');

/**
 * Token tables, by the tokens of the digits (each digit stands for itself), confirmed by the token_index behind them.
 */
export function* findTokens(bytes: Buffer, align: number): Generator<Tokens> {
  let candidates = 0;
  for (let at = bytes.indexOf(DIGITS); at !== -1; at = bytes.indexOf(DIGITS, at + 1)) {
    if (++candidates > MAX_CANDIDATES) return;
    const start = startOf(bytes, at);
    if (start === undefined) continue;
    const table: string[] = [];
    const offsets = Buffer.alloc(512);
    let position = start;
    for (let token = 0; token < 256; token++) {
      const end = bytes.indexOf(0, position);
      if (end === -1 || end - position > TOKEN_LIMIT) break;
      offsets.writeUInt16LE((position - start) & 0xffff, token * 2);
      table.push(bytes.toString('latin1', position, end));
      position = end + 1;
    }
    const index = alignUp(position, align);
    if (table.length === 256 && bytes.subarray(index, index + 512).equals(offsets)) {
      yield { start, end: alignUp(index + 512, align), table };
    }
  }
}

/** From the token of `0`, the 48th, back to the first one. */
function startOf(bytes: Buffer, zero: number): number | undefined {
  let start = zero;
  for (let token = 0x30; token > 0; token--) {
    if (start < 2) return undefined;
    // The zero byte in front of `start` ends the token before; that one begins behind the zero byte in front of it.
    const end = start - 1;
    const floor = Math.max(0, end - 1 - TOKEN_LIMIT);
    const before = bytes.subarray(floor, end).lastIndexOf(0);
    if (before === -1) return undefined;
    start = floor + before + 1;
  }
  return start;
}
