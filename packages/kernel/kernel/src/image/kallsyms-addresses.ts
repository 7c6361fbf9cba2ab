import type { ElfFile } from '@kmend/elf';
import type { Names } from './kallsyms-names.ts';
import { alignUp, type Tokens } from './kallsyms-tokens.ts';

/** gABI, "Program Header". */
const PT_LOAD = 1;
/** Kernel text of x86-64 is linked from here on (Documentation/arch/x86/x86_64/mm.rst). */
const LOWEST_TEXT = 0xffff_ffff_8000_0000n;

/**
 * Addresses by kallsyms_offsets. Of the layouts that kernels have had, the one that gives ascending addresses with code
 * in its place:
 * - up to 6.3 offsets and kallsyms_relative_base in front of the count; since 6.4 both behind the token index. With
 *   KALLSYMS_ABSOLUTE_PERCPU (up to 6.14) a negative offset counts down from the base and others are absolute; later
 *   all count up.
 * - 7.2 has no base: each offset counts from where it lies itself.
 */
export function findAddresses(
  bytes: Buffer,
  segments: ElfFile['segments'],
  tokens: Tokens,
  names: Names,
  align: number,
): bigint[] | undefined {
  const size = alignUp(names.count * 4, align);
  const decode = (at: number, address: (offset: number, index: number) => bigint): bigint[] | undefined => {
    const all = Array.from({ length: names.count }, (_, index) => address(bytes.readInt32LE(at + index * 4), index));
    return isSorted(all) && hasText(all, names) ? all : undefined;
  };
  for (const at of [names.countAt - 8 - size, tokens.end]) {
    if (at < 0 || at + size + 8 > bytes.length) continue;
    const base = bytes.readBigUInt64LE(at + size);
    if (base >= LOWEST_TEXT) {
      const found =
        decode(at, (offset) => (offset >= 0 ? BigInt(offset) : base - 1n - BigInt(offset))) ??
        decode(at, (offset) => base + BigInt(offset >>> 0));
      if (found !== undefined) return found;
    }
  }
  const place = addressOf(segments, tokens.end);
  if (place === undefined || tokens.end + size > bytes.length) return undefined;
  return decode(tokens.end, (offset, index) => place + BigInt(index * 4 + offset));
}

/** Where a byte of the file is linked to. */
function addressOf(segments: ElfFile['segments'], offset: number): bigint | undefined {
  const segment = segments.find((it) => it.type === PT_LOAD && offset >= it.offset && offset < it.offset + it.fileSize);
  return segment === undefined ? undefined : segment.virtualAddress + BigInt(offset - segment.offset);
}

function isSorted(addresses: readonly bigint[]): boolean {
  return addresses.every((address, index) => index === 0 || address >= (addresses[index - 1] ?? 0n));
}

/** `_stext` and `_etext` enclose code in the upper half: wrong decodings put them elsewhere. */
function hasText(addresses: readonly bigint[], names: Names): boolean {
  const at = (name: string): bigint | undefined => {
    const index = names.texts.findIndex((text) => text.slice(1) === name);
    return index === -1 ? undefined : addresses[index];
  };
  const start = at('_stext');
  const end = at('_etext');
  return start !== undefined && end !== undefined && start >= LOWEST_TEXT && end > start;
}
