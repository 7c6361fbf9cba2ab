import { STB_WEAK } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import type { ObjectView } from '../object/view.ts';
import type { UnitProof } from '../types.ts';
import type { ShippedImage } from './image.ts';

/** Functions of a unit that are a default only (`__weak`, include/linux/compiler_attributes.h). */
export function weakFunctions(view: ObjectView): Atom[] {
  return view.functions.filter(({ symbol }) => symbol?.bind === STB_WEAK);
}

/**
 * Weak functions of which the kernel runs another object's definition: its name leads elsewhere than to where this unit
 * lies. kvm_main.c's `kvm_arch_dy_runnable` is one, x86.c has its own. The bytes do not tell, since both may be the
 * same few. `view`: the unit as it was shipped, in whose sections functions keep their distances; `isWeak`: what the
 * kernel's own symbols say, where no neighbour is proven.
 */
export function overriddenWeak(
  view: ObjectView,
  image: ShippedImage,
  proof: UnitProof,
  isWeak: (name: string) => boolean,
): string[] {
  const weak = weakFunctions(view);
  const equal = new Set(proof.equal);
  const neighbours = view.functions.flatMap((atom) => {
    const name = atom.symbol?.name ?? '';
    const address = weak.includes(atom) || !equal.has(name) ? undefined : proof.addresses.get(name)?.address;
    return address === undefined ? [] : [{ section: atom.section, start: address - BigInt(atom.start) }];
  });
  return weak.flatMap((atom) => {
    const name = atom.symbol?.name ?? '';
    const places = image.named(name);
    if (places.length === 0) return [];
    const beside = neighbours.find(({ section }) => section === atom.section);
    const isOwn = beside === undefined ? isWeak(name) : places.includes(beside.start + BigInt(atom.start));
    return isOwn ? [] : [name];
  });
}

/** A proof without the functions that the kernel does not run. */
export function withoutOverridden(proof: UnitProof, overridden: readonly string[]): UnitProof {
  return {
    ...proof,
    equal: proof.equal.filter((name) => !overridden.includes(name)),
    different: proof.different.filter((entry) => !overridden.includes(entry.function)),
  };
}
