import type { Address } from './address.ts';
import type { Field, Instruction } from './instructions.ts';
import type { OwnFunction } from './own-code.ts';
import { pairsOf } from './pairs.ts';
import { type Reference, referencesOf } from './references.ts';
import type { ShippedPart } from './shipped-code.ts';
import type { World } from './world.ts';

/**
 * How many instructions around one are looked at to tell whether it stands in code that is the same on both sides, and
 * how many must be paired.
 */
const AROUND = 6;
const PAIRED = 0.75;

/** A function of the livepatch beside the same function of a shipped kernel, instruction by instruction. */
export interface Twin {
  readonly world: World;
  readonly object: string;
  /** The shipped function's own pieces. */
  readonly parts: readonly ShippedPart[];
  /** All instructions of both sides are paired: they differ in nothing but what they refer to. */
  readonly isWhole: boolean;
  /** What the other side refers to in the place of a reference; `undefined` where its surroundings differ. */
  reference(one: OwnFunction, reference: Reference): Reference | undefined;
  /** The address on the other side of an instruction, where its surroundings are the same. */
  address(at: Address): Address | undefined;
}

/** Puts a function, with its `.cold` parts, beside shipped ones; `undefined` where they have too little in common. */
export function twinOf(
  world: World,
  object: string,
  functions: readonly OwnFunction[],
  parts: readonly ShippedPart[],
): Twin | undefined {
  const sides = functions.map((one) => ({ one, side: ownSide(one) }));
  const steps = parts.map(partSide);
  const addresses = new Map<Address, Address>();
  const references = new Map<string, Reference>();
  let isWhole = functions.length === parts.length;
  for (const [index, { one, side }] of sides.entries()) {
    const other = steps[index];
    const part = parts[index];
    const pairs = other === undefined ? undefined : pairsOf(side.keys, other.keys);
    if (other === undefined || part === undefined || pairs === undefined) {
      isWhole = false;
      continue;
    }
    // Behind the shipped function lies what fills the room up to the next.
    isWhole &&= pairs.every((pair) => pair >= 0) && other.keys.slice(pairs.length).every((key) => FILLING.test(key));
    for (const [step, pair] of pairs.entries()) {
      const own = one.instructions[step];
      const there = part.instructions[pair];
      if (own === undefined || there === undefined || !isSolid(pairs, step)) continue;
      addresses.set(one.address + own.at, part.address + there.at);
      for (const reference of side.references.get(own.at) ?? []) {
        const same = (other.references.get(there.at) ?? []).find(
          (each) => roleOf(each, there) === roleOf(reference, own),
        );
        if (same !== undefined) references.set(`${one.address} ${reference.field.at}`, same);
      }
    }
  }
  if (addresses.size === 0) return undefined;
  return {
    world,
    object,
    parts,
    isWhole,
    reference: (one, { field }) => references.get(`${one.address} ${field.at}`),
    address: (at) => addresses.get(at),
  };
}

const FILLING = /^(?:cc|90|66|0f1f|2e)/;

interface Side {
  readonly keys: readonly string[];
  /** By offset of the instruction. */
  readonly references: ReadonlyMap<number, readonly Reference[]>;
}

function ownSide({ code, instructions, references }: OwnFunction): Side {
  return sideOf(code, instructions, references);
}

const partSides = new WeakMap<ShippedPart, Side>();

function partSide(part: ShippedPart): Side {
  const known =
    partSides.get(part) ??
    sideOf(part.code, part.instructions, referencesOf(part.code, part.address, part.instructions));
  partSides.set(part, known);
  return known;
}

function sideOf(code: Uint8Array, instructions: readonly Instruction[], all: readonly Reference[]): Side {
  const references = new Map<number, Reference[]>();
  for (const one of all) {
    const there = references.get(one.at);
    if (there === undefined) references.set(one.at, [one]);
    else there.push(one);
  }
  const keys = instructions.map((instruction) => keyOf(code, instruction, references.get(instruction.at) ?? []));
  return { keys, references };
}

/** The bytes of an instruction without what it refers to; near and short branches are the same. */
function keyOf(
  code: Uint8Array,
  { at, length, flow, relative, opcode }: Instruction,
  references: readonly Reference[],
): string {
  if (flow !== 'next' && relative !== undefined) {
    return flow === 'branch' && opcode < 0xe0 ? `branch ${opcode & 0xf}` : `${flow} ${flow === 'branch' ? opcode : ''}`;
  }
  const bytes = Buffer.from(code.subarray(at, at + length));
  for (const { field } of references) bytes.fill(0, field.at - at, field.at - at + field.size);
  return `${bytes.toString('hex')} ${references.map(({ field }) => field.at - at).join(' ')}`;
}

/** Which operand of its instruction a reference is. */
function roleOf(
  { field }: { readonly field: Field },
  { relative, memory }: Instruction,
): 'relative' | 'memory' | 'immediate' {
  return field.at === relative?.at ? 'relative' : field.at === memory?.at ? 'memory' : 'immediate';
}

/** Whether most of the instructions around one are paired with those around its other, at the same distance. */
function isSolid(pairs: Int32Array, step: number): boolean {
  const pair = pairs[step] ?? -1;
  if (pair < 0) return false;
  const first = Math.max(0, step - AROUND);
  const last = Math.min(pairs.length - 1, step + AROUND);
  let same = 0;
  for (let index = first; index <= last; index++) if (pairs[index] === pair + index - step) same++;
  return same >= PAIRED * (last - first + 1);
}
