import { isPcRelative, R_X86_64_32, relocationSize, SHF_MERGE, SHF_STRINGS } from '@kmend/elf';
import type { Atom, ObjectView, Target } from '../object/view.ts';
import type { ByteDifference } from '../types.ts';
import type { ShippedImage } from './image.ts';

/** Where things of the unit lie: atoms by themselves, outside symbols by name. */
export type Binding = Atom | string;
export type Bindings = Map<Binding, bigint>;

type Difference = Omit<ByteDifference, 'function'>;

/**
 * Compares one function with the shipped bytes at an address. Every byte must be equal; where the linker has put an address, what it
 * points at must be the same thing: the same text, the same constant, a symbol of that name, and one place a symbol throughout
 * the unit. Returns the places it proves, or the first difference.
 */
export function matchFunction(
  view: ObjectView,
  image: ShippedImage,
  atom: Atom,
  address: bigint,
  known: ReadonlyMap<Binding, bigint>,
): Bindings | Difference {
  const size = atom.end - atom.start;
  const own = atom.section.data.subarray(atom.start, atom.end);
  // Code without bytes (in a section like .bss) is nothing that can be compared.
  const shipped = own.length === size ? image.read(address, size) : undefined;
  if (shipped === undefined) return { reason: 'not-in-kernel' };
  const relocated = new Uint8Array(size);
  const found: Bindings = new Map([[atom, address]]);
  for (const relocation of view.relocationsIn(atom)) {
    const width = relocationSize(relocation.type);
    const at = relocation.offset - atom.start;
    if (width === undefined || at + width > size)
      return { reason: 'bytes-differ', offset: at, expected: 'a known relocation', found: `type ${relocation.type}` };
    if (width === 0) continue;
    relocated.fill(1, at, at + width);
    const target = view.targetOf(atom.section, relocation);
    const pointed = decode(shipped, at, width, relocation.type, address) + BigInt(target.bias);
    const problem = checkTarget(view, image, target, pointed, known, found);
    if (problem !== undefined) return { reason: 'bytes-differ', offset: at, ...problem };
  }
  for (let at = 0; at < size; at++) {
    if (relocated[at] === 0 && own[at] !== shipped[at]) {
      const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(at, at + 8)).toString('hex');
      return { reason: 'bytes-differ', offset: at, expected: hex(shipped), found: hex(own) };
    }
  }
  return found;
}

export function isDifference(outcome: Bindings | Difference): outcome is Difference {
  return !(outcome instanceof Map);
}

/** S + A of the psABI's formulas, from the bytes that the linker wrote. */
function decode(bytes: Uint8Array, at: number, width: number, type: number, address: bigint): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const field =
    width === 8
      ? view.getBigInt64(at, true)
      : type === R_X86_64_32
        ? BigInt(view.getUint32(at, true))
        : BigInt(view.getInt32(at, true));
  return BigInt.asUintN(64, isPcRelative(type) ? field + address + BigInt(at) : field);
}

function checkTarget(
  view: ObjectView,
  image: ShippedImage,
  target: Target,
  pointed: bigint,
  known: ReadonlyMap<Binding, bigint>,
  found: Bindings,
): { expected: string; found: string } | undefined {
  const { atom, offset, symbol } = target;
  const start = BigInt.asUintN(64, pointed - BigInt(offset));
  const where = (address: bigint): string => image.namesAt(address)[0] ?? `0x${address.toString(16)}`;
  if (atom !== undefined && isContent(atom)) {
    // Merged by the linker: the same content lies somewhere, not at one place.
    const content = atom.section.data.subarray(atom.start, atom.end);
    const there = image.read(start, content.length);
    if (there !== undefined && Buffer.compare(content, there) === 0) return undefined;
    return { expected: Buffer.from(content).toString('latin1').slice(0, 60), found: where(start) };
  }
  const binding = atom ?? symbol.name;
  const before = known.get(binding) ?? found.get(binding);
  if (before !== undefined) {
    return before === start ? undefined : { expected: where(before), found: where(start) };
  }
  if (atom === undefined) {
    const places = image.named(symbol.name);
    if (places.length > 0 && !places.includes(start)) return { expected: symbol.name, found: where(start) };
  } else if (atom.kind === 'anonymous' && view.relocationsIn(atom).length === 0) {
    const content = atom.section.data.subarray(atom.start, atom.end);
    const there = image.read(start, content.length);
    if (there !== undefined && Buffer.compare(content, there) !== 0)
      return { expected: 'an equal constant', found: where(start) };
  }
  found.set(binding, start);
  return undefined;
}

function isContent(atom: Atom): boolean {
  return atom.kind === 'string' || (atom.section.flags & (SHF_MERGE | SHF_STRINGS)) !== 0;
}
