import type { Random } from './random.ts';

/** A field of a format: where it lies and how many bytes it has, little-endian. */
export interface Field {
  readonly at: number;
  readonly width: 1 | 2 | 4 | 8;
}

/**
 * Writes a value that counts, offsets and indexes go wrong with: 0, 1, the greatest, ones near the size, another
 * field's.
 */
export function mutateField(random: Random, bytes: Buffer, { at, width }: Field): void {
  if (at < 0 || at + width > bytes.length) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const present = read(view, at, width);
  const near = BigInt(random.below(5)) - 2n;
  const value = random.pick([
    0n,
    1n,
    -1n,
    2n ** BigInt(width * 8 - 1),
    2n ** BigInt(width * 8 - 1) - 1n,
    0x7fff_ffffn,
    0xffff_ffffn,
    2n ** 53n - 1n,
    2n ** 53n + 1n,
    present + near,
    present * 2n,
    BigInt(bytes.length) + near,
    BigInt(random.below(bytes.length)),
    BigInt(random.below(256)),
    BigInt(random.below(2 ** 32)),
  ]);
  write(view, at, width, value);
}

/** Changes bytes without knowing what they mean: flips, runs, copies, words of mutateField. The length stays. */
export function mutateBytes(random: Random, bytes: Buffer, from = 0, to = bytes.length): void {
  if (to <= from) return;
  const at = from + random.below(to - from);
  const run = Math.min(to - at, 1 + random.below(random.pick([1, 4, 16, 256])));
  switch (random.below(6)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      break;
    case 1:
      bytes[at] = random.below(256);
      break;
    case 2:
      bytes.fill(random.pick([0, 0xff, 0x41, random.below(256)]), at, at + run);
      break;
    case 3:
      bytes.copy(bytes, at, from + random.below(to - from), to);
      break;
    case 4:
      bytes.copyWithin(from + random.below(to - from), at, at + run);
      break;
    default:
      mutateField(random, bytes, { at, width: random.pick([1, 2, 4, 8]) });
  }
}

/** Cuts the end off, or puts more behind it. */
export function mutateLength(random: Random, bytes: Buffer): Buffer {
  if (random.below(4) > 0) return Buffer.from(bytes.subarray(0, random.below(bytes.length + 1)));
  return Buffer.concat([bytes, Buffer.alloc(1 + random.below(4096), random.below(256))]);
}

function read(view: DataView, at: number, width: Field['width']): bigint {
  let value = 0n;
  for (let index = width - 1; index >= 0; index--) value = (value << 8n) | BigInt(view.getUint8(at + index));
  return value;
}

function write(view: DataView, at: number, width: Field['width'], value: bigint): void {
  for (let index = 0; index < width; index++) {
    view.setUint8(at + index, Number(BigInt.asUintN(8, value >> BigInt(index * 8))));
  }
}
