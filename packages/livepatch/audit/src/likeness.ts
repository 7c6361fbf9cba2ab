import { SHF_STRINGS } from '@kmend/elf';
import type { Address } from './address.ts';
import type { Replacement } from './check-functions.ts';
import { baseName, type OwnCode, type OwnFunction } from './own-code.ts';
import type { Reference } from './references.ts';
import { type ShippedPart, shippedFunction } from './shipped-code.ts';
import type { Simulation } from './simulation.ts';

/** A reference of a function, with a key that is equal on both sides. */
export interface Likened {
  readonly reference: Reference;
  readonly where: string;
  /** Address of the operand's field. */
  readonly field: Address;
  /** Equal for references of both sides that lead to the same thing. */
  readonly key: string;
}

/** References of a replaced function out of itself: as shipped, and as in the livepatch. */
export interface BothSides {
  readonly replacement: Replacement;
  readonly shipped: readonly Likened[];
  readonly own: readonly Likened[];
  readonly parts: readonly ShippedPart[];
  readonly functions: readonly OwnFunction[];
}

/**
 * Reads both sides of a replaced function. What the livepatch has a copy of (a string, a constant, a helper function)
 * stands for the shipped thing of the same content or name, if the shipped function refers to one.
 */
export function bothSides(
  simulation: Simulation,
  replacements: readonly Replacement[],
  replacement: Replacement,
): BothSides | undefined {
  const { world, loaded, own } = simulation;
  const parts = shippedFunction(world, replacement.oldAddress, replacement.oldEnd);
  const main = own.functionAt(replacement.newAddress)?.function;
  if (parts === undefined || main === undefined) return undefined;
  const functions = withCold(own, main);
  const isOwnPart = (target: Address): boolean =>
    parts.some(({ address, code }) => target >= address && target < address + code.length);
  const shipped = parts.flatMap((part) =>
    part.references
      .filter(({ target }) => !isOwnPart(target))
      .map((reference) => ({
        reference,
        where: `+0x${(part.address + reference.at - replacement.oldAddress).toString(16)}`,
        field: part.address + reference.field.at,
        key: keyOf(reference, reference.target),
      })),
  );
  const newOf = new Map(replacements.map(({ newAddress, oldAddress }) => [newAddress, oldAddress]));
  const stand = (target: Address): Address | undefined => newOf.get(target) ?? standsFor(target, shipped, simulation);
  const likened = functions.flatMap((one) =>
    one.references
      .filter(({ target }) => {
        const found = own.functionAt(target);
        return found === undefined || !functions.includes(found.function);
      })
      .map((reference): Likened => {
        const isOwn = loaded.at(reference.target) !== undefined;
        const same = isOwn ? stand(reference.target) : reference.target;
        return {
          reference,
          where: `${one.name}+0x${reference.at.toString(16)}`,
          field: one.address + reference.field.at,
          key: keyOf(reference, same ?? reference.target),
        };
      }),
  );
  return { replacement, shipped, own: likened, parts, functions };
}

/** A call and a jump to a function are both its call. */
function keyOf({ kind }: Reference, target: Address): string {
  return `${kind === 'call' || kind === 'jump' || kind === 'branch' ? 'call' : 'data'} ${target}`;
}

/** A function with what the compiler moved out of it, also where no jump leads there any more. */
export function withCold(own: OwnCode, main: OwnFunction): OwnFunction[] {
  const found = [main];
  for (const one of found) {
    for (const { kind, target } of one.references) {
      const other = kind === 'call' ? undefined : own.functionAt(target)?.function;
      if (other?.name.includes('.cold') === true && !found.includes(other)) found.push(other);
    }
  }
  const named = own.functions.filter(
    ({ name }) => /\.cold(?:\.\d+)?$/.test(name) && name.startsWith(`${main.name}.cold`),
  );
  const [only] = named;
  if (found.length === 1 && named.length === 1 && only !== undefined) found.push(only);
  return found;
}

function standsFor(
  target: Address,
  shipped: readonly Likened[],
  { world, loaded, own }: Simulation,
): Address | undefined {
  const place = loaded.at(target);
  if (place === undefined) return undefined;
  const { section, offset } = place;
  const candidates = [...new Set(shipped.map(({ reference }) => reference.target))];
  const memory = loaded.memory(section);
  if ((section.flags & SHF_STRINGS) !== 0) {
    const end = memory.indexOf(0, offset);
    const text = memory.subarray(offset, end + 1);
    return candidates.find((address) => {
      const bytes = world.read(address, text.length);
      return bytes !== undefined && Buffer.compare(bytes, text) === 0;
    });
  }
  const code = own.functionAt(target);
  const held = code === undefined ? own.dataAt(section, offset) : code.function;
  const inside = code?.offset ?? (held === undefined ? 0 : offset - held.start);
  if (held !== undefined) {
    const wanted = baseName(held.name);
    const named = candidates.filter((address) => {
      const located = world.locate(address);
      return (
        located !== undefined &&
        address - located.start === inside &&
        located.names.some((name) => baseName(name) === wanted)
      );
    });
    // Several of one name (`__msg.3`, `__msg.4`) differ by their content.
    const content = memory.subarray(offset, held.start + held.size);
    const same = named.find((address) => {
      const bytes = code === undefined ? world.read(address, content.length) : undefined;
      return bytes !== undefined && Buffer.compare(bytes, content) === 0;
    });
    return same ?? (named.length === 1 ? named[0] : undefined);
  }
  // Nameless constants: by their first bytes.
  const size = Math.min(section.entrySize || 8, memory.length - offset);
  const bytes = memory.subarray(offset, offset + size);
  return candidates.find((address) => {
    const there = world.read(address, size);
    return there !== undefined && Buffer.compare(there, bytes) === 0;
  });
}

/** Describes an address, for people. */
export function nameOf(target: Address, { world, loaded, own }: Simulation): string {
  const place = loaded.at(target);
  if (place !== undefined) {
    const held = own.functionAt(target)?.function ?? own.dataAt(place.section, place.offset);
    const text =
      (place.section.flags & SHF_STRINGS) !== 0 ? JSON.stringify(loaded.text(target)?.slice(0, 60)) : undefined;
    return (
      text ??
      `${held?.name ?? place.section.name}+0x${(place.offset - (held?.start ?? 0)).toString(16)} of the livepatch`
    );
  }
  const located = world.locate(target);
  const offset = located === undefined ? 0 : target - located.start;
  return located === undefined
    ? 'nothing'
    : `${located.names[0] ?? 'something'}${offset === 0 ? '' : `+0x${offset.toString(16)}`} of ${located.object}`;
}
