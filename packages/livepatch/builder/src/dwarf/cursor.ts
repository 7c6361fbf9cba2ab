import { BuilderError } from '../error.ts';

/** Debug information that contradicts itself: nothing in the object can be trusted to be what it says. */
export function damaged(message: string): BuilderError {
  return new BuilderError('dwarf-damaged', `the debug information is damaged: ${message}`, {
    hint: 'compile the object again; if it stays so, report the object',
  });
}

/** No identifier and no compiler's command line comes near; a longer one is a table whose end is missing. */
const LONGEST_STRING = 16 << 10;

/** A little-endian section that is read from a moving place. Reading outside it is `dwarf-damaged`. */
export class Cursor {
  readonly name: string;
  readonly bytes: Buffer;
  readonly #view: DataView;
  at = 0;

  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get size(): number {
    return this.bytes.length;
  }

  /** Moves on by `size` bytes and returns where they begin. */
  take(size: number): number {
    const { at } = this;
    if (at + size > this.bytes.length || size < 0) throw damaged(`${this.name} ends at ${this.size}, inside a field`);
    this.at = at + size;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.take(2), true);
  }

  u24(): number {
    return this.u16() | (this.u8() << 16);
  }

  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  big64(): bigint {
    return this.#view.getBigUint64(this.take(8), true);
  }

  /** A 64-bit field that must be usable as an offset or a size. */
  u64(): number {
    return this.#safe(this.big64());
  }

  /** An unsigned field of a size that a header gives: 1, 2, 4 or 8 bytes. */
  unsigned(size: number): number {
    switch (size) {
      case 1:
        return this.u8();
      case 2:
        return this.u16();
      case 4:
        return this.u32();
      case 8:
        return this.u64();
      default:
        throw damaged(`${this.name} has fields of ${size} bytes`);
    }
  }

  /** ULEB128 (DWARF 5, 7.6), for numbers that count or index. */
  uleb(): number {
    const first = this.u8();
    if (first < 0x80) return first;
    this.at--;
    return this.#safe(this.ulebBig());
  }

  ulebBig(): bigint {
    return BigInt.asUintN(64, this.#leb().value);
  }

  /** SLEB128 (DWARF 5, 7.6). */
  sleb(): bigint {
    const { value, bits, last } = this.#leb();
    return BigInt.asIntN(64, (last & 0x40) === 0 ? value : value - (1n << BigInt(bits)));
  }

  /** A string that ends at a NUL. */
  text(): string {
    const start = this.at;
    const end = this.skipText();
    return this.bytes.toString('latin1', start, end);
  }

  /** Moves behind a string; returns where its NUL is. */
  skipText(): number {
    const { at: start, bytes } = this;
    const limit = Math.min(bytes.length, start + LONGEST_STRING);
    let end = start;
    while (end < limit && bytes[end] !== 0) end++;
    if (end >= limit) throw damaged(`a string at ${this.name}+${start} has no end`);
    this.at = end + 1;
    return end;
  }

  #leb(): { readonly value: bigint; readonly bits: number; readonly last: number } {
    let value = 0n;
    // Ten groups of seven bits hold any 64-bit number; producers may pad, but not without end.
    for (let bits = 0; bits < 70; bits += 7) {
      const last = this.u8();
      value |= BigInt(last & 0x7f) << BigInt(bits);
      if (last < 0x80) return { value, bits: bits + 7, last };
    }
    throw damaged(`a number at ${this.name}+${this.at} has no end`);
  }

  #safe(value: bigint): number {
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`${this.name} has the size or offset ${value}`);
    return Number(value);
  }
}
