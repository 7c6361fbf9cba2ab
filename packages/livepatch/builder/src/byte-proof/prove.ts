import { SHF_EXECINSTR } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import type { ByteDifference, ProvenAddress, Unit, UnitProof } from '../types.ts';
import type { ShippedImage } from './image.ts';
import { type Binding, type Bindings, isDifference, matchFunction } from './match.ts';

/**
 * The byte proof of one unit: its original, compiled as the builder compiles and put through objtool, against what
 * Debian shipped. A function is equal only at a place that is certain: its name is there once, or other equal functions
 * point at it or lie in the same section, or only one of the places named so has these bytes.
 */
export function proveUnit(unit: Unit, view: ObjectView, image: ShippedImage): UnitProof {
  const bindings: Bindings = new Map();
  const equal = new Set<Atom>();
  const different = new Map<Atom, ByteDifference>();
  const open = new Set(view.functions.filter((atom) => isKept(unit, atom)));
  const accept = (atom: Atom, found: Bindings): void => {
    for (const [binding, address] of found) bindings.set(binding, address);
    equal.add(atom);
    open.delete(atom);
  };
  const reject = (atom: Atom, difference: Omit<ByteDifference, 'function'>): void => {
    different.set(atom, { function: nameOf(atom), ...difference });
    open.delete(atom);
  };
  const attempt = (atom: Atom, addresses: readonly bigint[]): void => {
    const outcomes = addresses.map((address) => matchFunction(view, image, atom, address, bindings));
    const fitting = outcomes.filter((outcome) => !isDifference(outcome));
    const [only] = fitting;
    if (fitting.length === 1 && only !== undefined && !isDifference(only)) accept(atom, only);
    else if (fitting.length === 0) {
      const first = outcomes[0];
      reject(atom, first !== undefined && isDifference(first) ? first : { reason: 'not-in-kernel' });
    }
  };
  const candidates = (atom: Atom): readonly bigint[] => {
    const bound = bindings.get(atom);
    if (bound !== undefined) return [bound];
    const named = image.named(nameOf(atom));
    // Functions of one section keep their distances: one that is proven shows where the others are.
    const sibling = named.length > 1 ? [...equal].find((other) => other.section === atom.section) : undefined;
    const base = sibling === undefined ? undefined : bindings.get(sibling);
    if (sibling === undefined || base === undefined) return named;
    const place = base + BigInt(atom.start - sibling.start);
    return named.filter((address) => address === place);
  };
  for (const atom of [...open]) if (image.named(nameOf(atom)).length <= 1) attempt(atom, candidates(atom));
  // Names that occur more than once: every accepted function may settle others.
  for (let before = -1; before !== open.size; ) {
    before = open.size;
    for (const atom of [...open]) attempt(atom, candidates(atom));
  }
  for (const atom of [...open]) reject(atom, { reason: 'ambiguous' });
  return {
    source: unit.source,
    object: unit.object,
    equal: [...equal].map(nameOf),
    different: [...different.values()],
    addresses: provenAddresses(image, bindings),
  };
}

/**
 * Two proofs of the same source, compiled in two ways: equal is what either shows to be equal. `isSame`: whether a name
 * means the same thing in both objects; the compiler may number static variables otherwise.
 */
export function mergeProofs(first: UnitProof, second: UnitProof, isSame: (name: string) => boolean): UnitProof {
  const equal = new Set([...first.equal, ...second.equal]);
  return {
    source: first.source,
    object: first.object,
    equal: [...equal],
    // Compiled with the shipped flags, the first difference is not just a longer jump.
    different: first.different
      .filter((entry) => !equal.has(entry.function))
      .map((entry) => second.different.find((other) => other.function === entry.function) ?? entry),
    addresses: new Map([...[...second.addresses].filter(([name]) => isSame(name)), ...first.addresses]),
  };
}

function nameOf(atom: Atom): string {
  return atom.symbol?.name ?? '';
}

/** Code of built-in objects that only unloading would run is not in vmlinux. */
function isKept(unit: Unit, atom: Atom): boolean {
  if ((atom.section.flags & SHF_EXECINSTR) === 0) return false;
  return unit.object !== 'vmlinux' || !atom.section.name.startsWith('.exit');
}

function provenAddresses(image: ShippedImage, bindings: Bindings): ReadonlyMap<string, ProvenAddress> {
  const proven = new Map<string, ProvenAddress>();
  for (const [binding, address] of bindings) {
    const own = bindingName(binding);
    if (own === undefined) continue;
    const names = image.namesAt(address);
    const name = names.includes(own) ? own : names.find((candidate) => stem(candidate) === stem(own));
    if (name === undefined) continue;
    const places = image.named(name);
    const sympos = places.length === 1 ? 0 : places.indexOf(address) + 1;
    proven.set(own, { object: image.object, name, address, sympos });
  }
  return proven;
}

function bindingName(binding: Binding): string | undefined {
  const name = typeof binding === 'string' ? binding : binding.symbol?.name;
  return name === '' ? undefined : name;
}
