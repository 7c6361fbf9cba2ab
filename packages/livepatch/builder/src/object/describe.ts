import type { Target } from './view.ts';

const TEXT_SHOWN = 60;

/** What a reference means, for people. */
export function describeTarget({ atom, entry, symbol, offset }: Target, withOffset = true): string {
  const behind = withOffset && offset !== 0 ? `${offset < 0 ? '-' : '+'}0x${Math.abs(offset).toString(16)}` : '';
  if (entry !== undefined) return `entry ${entry.index} of ${entry.section.name}${behind}`;
  if (atom === undefined) return `${symbol.name}${behind}`;
  if (atom.symbol !== undefined) return `${atom.symbol.name}${behind}`;
  const bytes = atom.section.data.subarray(atom.start + (atom.kind === 'string' ? offset : 0), atom.end);
  const text = printable(bytes);
  if (text !== undefined) return JSON.stringify(text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN)}...` : text);
  return `constant ${Buffer.from(bytes.subarray(0, 16)).toString('hex')}${bytes.length > 16 ? '...' : ''}${behind}`;
}

function printable(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  if (end < 1) return undefined;
  const text = bytes.subarray(0, end);
  const isText = text.every((byte, at) => isPrintable(byte) || (byte === LEVEL && at === 0));
  // Kernel messages begin with a level byte and its digit.
  return isText ? Buffer.from(text[0] === LEVEL ? text.subarray(2) : text).toString('latin1') : undefined;
}

/** include/linux/kern_levels.h, KERN_SOH. */
const LEVEL = 1;

function isPrintable(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10;
}
