import type { Address } from './address.ts';
import type { Replacement } from './check-functions.ts';
import { shippedFunction } from './shipped-code.ts';
import type { World } from './world.ts';

/** Functions of one file lie side by side in the kernel; the largest have some hundreds. */
const REACH = 150;

/** What the shipped functions around a replaced one refer to: those of its file are among them. */
export class Neighbourhood {
  readonly #world: World;
  readonly #known = new Map<Address, ReadonlySet<Address>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Whether one of them refers to a symbol, or is it. */
  refersTo(replacement: Replacement, symbol: Address): boolean {
    const known = this.#known.get(replacement.oldAddress) ?? this.#read(replacement);
    this.#known.set(replacement.oldAddress, known);
    return known.has(symbol);
  }

  #read({ object, oldAddress }: Replacement): ReadonlySet<Address> {
    const found = new Set<Address>();
    for (const { start, end } of functionsAround(this.#world, object, oldAddress, REACH)) {
      found.add(start);
      for (const { references } of shippedFunction(this.#world, start, end) ?? []) {
        for (const { target } of references) {
          const located = this.#world.locate(target);
          if (located !== undefined) found.add(located.start);
        }
      }
    }
    return found;
  }
}

/** Shipped functions on both sides of an address, so many on each, itself included. */
export function functionsAround(
  world: Pick<World, 'module' | 'neighbours'>,
  object: string,
  address: Address,
  count: number,
): { readonly start: Address; readonly end: Address }[] {
  const module = world.module(object);
  if (module === undefined) return world.neighbours(address, count);
  const functions = module.functions();
  const middle = functions.findIndex((one) => one.address === address);
  const near = functions.slice(Math.max(0, middle - count), middle + count + 1);
  return near.map((one) => ({ start: one.address, end: one.address + one.size }));
}
