import type { Address } from './address.ts';
import type { World } from './world.ts';

/** Longest text that is compared, bytes. */
const TEXT_LIMIT = 1024;
const CHUNK = 64;

/** The text at an address of a kernel, without its zero. */
export function textAt(address: Address | undefined, world: World): string | undefined {
  const parts: Uint8Array[] = [];
  for (let size = 0; address !== undefined && size < TEXT_LIMIT; ) {
    // At the end of a section there is less to read.
    const part = world.read(address + size, CHUNK) ?? world.read(address + size, 1);
    if (part === undefined) return undefined;
    parts.push(part);
    size += part.length;
    const text = textIn(Buffer.concat(parts));
    if (text !== undefined) return text;
  }
  return undefined;
}

/** The text that bytes begin with. */
export function textIn(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  return end === -1 ? undefined : Buffer.from(bytes.subarray(0, end)).toString('latin1');
}

/** Behind the zero of a text that begins at a place; `undefined` where there is none. */
export function endOfText(memory: Uint8Array, offset: number): number | undefined {
  const end = memory.indexOf(0, offset);
  if (end <= offset || end - offset > TEXT_LIMIT) return undefined;
  return memory.subarray(offset, end).every(isPrintable) ? end + 1 : undefined;
}

/** Also what marks the level of a message (KERN_SOH, include/linux/kern_levels.h). */
function isPrintable(byte: number): boolean {
  return byte >= 0x20 ? byte !== 0x7f : [0x01, 0x09, 0x0a, 0x0d, 0x1b].includes(byte);
}

/**
 * `undefined` where two texts differ in the line at their end alone, of which the livepatch keeps the running kernel's:
 * `field "dst" at net/ipv6/seg6_local.c:437` (include/linux/fortify-string.h). Else `false`.
 */
export function onlyLine(own: string | undefined, other: string | undefined): false | undefined {
  const [one, two] = [own, other].map((text) => / at [\w./-]+\.[ch]:(?=\d+$)/.exec(text ?? ''));
  const isSame = one && two && one.input.slice(0, one.index) === two.input.slice(0, two.index) && one[0] === two[0];
  return isSame ? undefined : false;
}
