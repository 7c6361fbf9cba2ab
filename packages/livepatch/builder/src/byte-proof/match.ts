import { isPcRelative, R_X86_64_32, relocationSize, SHF_MERGE, SHF_STRINGS } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import { describeTarget } from '../object/describe.ts';
import { branchTarget, branchText, decodeInstruction } from '../object/instructions.ts';
import type { Entry, ObjectView, Target } from '../object/view.ts';
import type { ByteDifference } from '../types.ts';
import type { ShippedImage } from './image.ts';

/** Where things of the unit lie: atoms by themselves, outside symbols by name. */
export type Binding = Atom | string;
export type Bindings = Map<Binding, bigint>;

type Difference = Omit<ByteDifference, 'function'>;

/**
 * Compares one function with the shipped bytes at an address. Every byte must be equal; where the linker has put an
 * address, what it points at must be the same thing: the same text, the same constant, a symbol of that name, and one
 * place a symbol throughout the unit. Returns the places it proves, or the first difference.
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
  if (own.length !== size) return { reason: 'not-in-kernel' };
  const shipped = readUpTo(image, address, size);
  if (shipped.length === 0) return { reason: 'not-in-kernel' };
  const relocated = new Uint8Array(size);
  const found: Bindings = new Map([[atom, address]]);
  let problem: Problem | undefined;
  for (const relocation of view.relocationsIn(atom)) {
    const width = relocationSize(relocation.type);
    const at = relocation.offset - atom.start;
    if (width === undefined || at + width > size) {
      problem = { at, built: `a relocation of type ${relocation.type}`, shipped: 'no such relocation' };
      break;
    }
    if (width === 0) continue;
    if (at + width > shipped.length) break;
    relocated.fill(1, at, at + width);
    const target = view.targetOf(atom.section, relocation);
    const pointed = decode(shipped, at, width, relocation.type, address) + BigInt(target.bias);
    const names = checkTarget(view, image, target, pointed, known, found);
    if (names === undefined) continue;
    problem = { at, ...names };
    break;
  }
  // Up to the first field that leads elsewhere, every other byte; where one differs, fields behind it mean nothing.
  for (let at = 0; at < (problem?.at ?? size); at++) {
    if (relocated[at] === 0 && own[at] !== shipped[at]) problem = { at };
  }
  return problem === undefined ? found : differenceAt(view, image, atom, { address, shipped }, problem);
}

/** As much of the kernel's bytes as there is: a function that is shorter there may lie at the end. */
function readUpTo(image: ShippedImage, address: bigint, size: number): Uint8Array {
  const whole = image.read(address, size);
  if (whole !== undefined) return whole;
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (image.read(address, middle) === undefined) high = middle - 1;
    else low = middle;
  }
  return image.read(address, low) ?? new Uint8Array(0);
}

interface Problem {
  readonly at: number;
  /** What the field leads to, built here and in the kernel. */
  readonly built?: string;
  readonly shipped?: string;
}

const LONGEST_INSTRUCTION = 15;

function differenceAt(
  view: ObjectView,
  image: ShippedImage,
  atom: Atom,
  there: { readonly address: bigint; readonly shipped: Uint8Array },
  problem: Problem,
): Difference {
  const { section, start } = atom;
  const offset = Math.max(0, view.instructionStart(section, start + problem.at) - start);
  const own = section.data.subarray(start, atom.end);
  const bytesOf = (code: Uint8Array): Uint8Array => code.slice(offset, offset + LONGEST_INSTRUCTION);
  const reference = view.referencesIn(atom).find((candidate) => candidate.offset >= start + offset);
  const length = decodeInstruction(own, offset)?.length ?? 1;
  const isIn = reference !== undefined && reference.offset < start + offset + length;
  const built = problem.built ?? (isIn ? describeTarget(reference.target) : branchText(own, offset));
  const shipped = problem.shipped ?? shippedBranch(image, there, offset);
  return {
    reason: 'bytes-differ',
    offset,
    shipped: { bytes: bytesOf(there.shipped), ...(shipped !== undefined && { target: shipped }) },
    built: { bytes: bytesOf(own), ...(built !== undefined && { target: built }) },
  };
}

/** Where a branch of the kernel leads: inside the function, or the symbol at the address. */
function shippedBranch(
  image: ShippedImage,
  { address, shipped }: { readonly address: bigint; readonly shipped: Uint8Array },
  offset: number,
): string | undefined {
  const place = branchTarget(shipped, offset);
  if (place === undefined) return undefined;
  if (place >= 0 && place < shipped.length) return branchText(shipped, offset);
  const target = BigInt.asUintN(64, address + BigInt(place));
  return image.namesAt(target)[0] ?? `0x${target.toString(16)}`;
}

export function isDifference(outcome: Bindings | Difference): outcome is Difference {
  return !(outcome instanceof Map);
}

/** S + A of the psABI's formulas, from the bytes that the linker wrote. */
export function decode(bytes: Uint8Array, at: number, width: number, type: number, address: bigint): bigint {
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
): { built: string; shipped: string } | undefined {
  const { atom, entry, offset, symbol } = target;
  const start = BigInt.asUintN(64, pointed - BigInt(offset));
  const where = (address: bigint): string => image.namesAt(address)[0] ?? `0x${address.toString(16)}`;
  if (entry !== undefined) {
    const isSame = isEntryOf(view, image, entry, start, (one) => known.get(one) ?? found.get(one));
    return isSame ? undefined : { built: describeTarget(target), shipped: where(start) };
  }
  if (atom !== undefined && isContent(atom)) {
    // Merged by the linker: the same content lies somewhere, not at one place.
    const content = atom.section.data.subarray(atom.start, atom.end);
    const there = image.read(start, content.length);
    if (there !== undefined && Buffer.compare(content, there) === 0) return undefined;
    return { built: describeTarget(target), shipped: where(start) };
  }
  const binding = atom ?? symbol.name;
  const before = known.get(binding) ?? found.get(binding);
  if (before !== undefined) {
    return before === start ? undefined : { built: where(before), shipped: where(start) };
  }
  if (atom === undefined) {
    const places = image.named(symbol.name);
    if ((places.length > 0 || image.complete) && !places.includes(start))
      return { built: symbol.name, shipped: where(start) };
  } else if (atom.kind === 'anonymous' && view.relocationsIn(atom).length === 0) {
    const content = atom.section.data.subarray(atom.start, atom.end);
    const there = image.read(start, content.length);
    if (there !== undefined && Buffer.compare(content, there) !== 0)
      return { built: describeTarget(target), shipped: where(start) };
  }
  found.set(binding, start);
  return undefined;
}

/** Whether an address holds the entry of a table that is about the same instruction. */
function isEntryOf(
  view: ObjectView,
  image: ShippedImage,
  entry: Entry,
  start: bigint,
  placeOf: (atom: Atom) => bigint | undefined,
): boolean {
  const [first] = view.referencesIn(entry);
  const place = first?.target.atom === undefined ? undefined : placeOf(first.target.atom);
  const bytes = first === undefined ? undefined : image.read(start, first.width);
  if (first === undefined || place === undefined || bytes === undefined || first.offset !== entry.start) return false;
  return decode(bytes, 0, first.width, first.type, start) === BigInt.asUintN(64, place + BigInt(first.target.offset));
}

/** Merged by the linker: only what it holds tells it apart. */
export function isContent(atom: Atom): boolean {
  return atom.kind === 'string' || (atom.section.flags & (SHF_MERGE | SHF_STRINGS)) !== 0;
}
