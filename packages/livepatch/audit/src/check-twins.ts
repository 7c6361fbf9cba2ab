import { type Address, hex } from './address.ts';
import type { Replacement } from './check-functions.ts';
import type { Findings } from './finding.ts';
import { nameOf, withCold } from './likeness.ts';
import { isNameless, type OwnCode, type OwnFunction } from './own-code.ts';
import type { SameThing } from './same-thing.ts';
import { type ShippedPart, shippedFunction } from './shipped-code.ts';
import type { Simulation } from './simulation.ts';
import { type Twin, twinOf } from './twin.ts';
import type { World } from './world.ts';

/** What the running kernel and the fixed ones have in the place of a function of the livepatch. */
export interface Beside {
  readonly functions: readonly OwnFunction[];
  readonly shipped: Twin | undefined;
  readonly fixed: readonly Twin[];
}

/** Puts each function of the livepatch beside that of the same name in the kernels. */
export async function besides(
  world: World,
  fixed: readonly World[],
  own: OwnCode,
  replacements: readonly Replacement[],
): Promise<Beside[]> {
  const objects = [...new Set(replacements.map(({ object }) => object))];
  for (const other of fixed) for (const object of objects) if (object !== 'vmlinux') await other.load(object);
  const found: Beside[] = [];
  const newCode = new Map(replacements.map((one) => [one.newAddress, one]));
  for (const main of own.functions) {
    if (main.name.includes('.cold') || isNameless(main)) continue;
    const functions = withCold(own, main);
    const replaced = newCode.get(main.address);
    const among = replaced === undefined ? objects : [replaced.object];
    const twins = fixed
      .map((other) => closest(other, among, main.name, functions))
      .filter((twin) => twin !== undefined);
    const parts = replaced === undefined ? undefined : partsOf(world, replaced.oldAddress, replaced.oldEnd);
    const shipped =
      replaced === undefined || parts === undefined ? undefined : twinOf(world, replaced.object, functions, parts);
    found.push({ functions, shipped, fixed: twins });
  }
  return found;
}

/** Of each kernel: the functions that livepatches replace are few. */
const known = new WeakMap<World, Map<Address, ShippedPart[] | undefined>>();

function partsOf(world: World, start: Address, end: Address): ShippedPart[] | undefined {
  const functions = known.get(world) ?? new Map<Address, ShippedPart[] | undefined>();
  known.set(world, functions);
  if (!functions.has(start)) functions.set(start, shippedFunction(world, start, end));
  return functions.get(start);
}

/** Of several functions of a name the one that is whole, if there is one; of several others none. */
function closest(
  world: World,
  objects: readonly string[],
  name: string,
  functions: readonly OwnFunction[],
): Twin | undefined {
  const twins: Twin[] = [];
  for (const object of objects) {
    for (const address of world.named(object, name)) {
      const located = world.locate(address);
      const parts = located?.isCode === true ? partsOf(world, address, located.end) : undefined;
      const twin = parts === undefined ? undefined : twinOf(world, object, functions, parts);
      if (twin !== undefined) twins.push(twin);
    }
  }
  const whole = twins.filter(({ isWhole }) => isWhole);
  return whole.length === 1 ? whole[0] : twins.length === 1 ? twins[0] : undefined;
}

/** What a kernel has as well: no line of a fix has to account for it. */
export interface Confirmed {
  /** Addresses of the fields of references. */
  readonly references: ReadonlySet<Address>;
  /** Functions that differ from those of a fixed kernel in nothing but what they refer to. */
  readonly functions: ReadonlySet<Address>;
}

/**
 * Compares every reference of the livepatch with the one in the same place of the shipped and of the fixed kernels'
 * function. Where a fixed kernel's function is otherwise the same, or the surroundings are the same and the shipped
 * function does not agree either, it must be the same thing.
 */
export function checkTwins(
  all: readonly Beside[],
  simulation: Simulation,
  same: SameThing,
  findings: Findings,
): Confirmed {
  const references = new Set<Address>();
  const whole = new Set<Address>();
  for (const { functions, shipped, fixed } of all) {
    if (fixed.some(({ isWhole }) => isWhole)) for (const { address } of functions) whole.add(address);
    for (const one of functions) {
      for (const reference of one.references) {
        const compare = (twin: Twin): boolean | undefined => {
          const other = twin.reference(one, reference);
          return other === undefined ? undefined : same.is(reference.target, other.target, twin);
        };
        const isShipped = shipped === undefined ? undefined : compare(shipped);
        const judged = fixed.map((twin) => ({ twin, isSame: compare(twin) }));
        const isFixed = judged.some(({ isSame }) => isSame === true);
        const differing = judged.find(({ twin, isSame }) => isSame === false && (twin.isWhole || isShipped !== true));
        if (isFixed || (isShipped === true && differing === undefined))
          references.add(one.address + reference.field.at);
        else if (differing !== undefined) {
          const { twin } = differing;
          const there = twin.reference(one, reference)?.target ?? 0;
          findings.add(
            'reference-differs',
            `${one.name}+0x${reference.at.toString(16)} refers to ${nameOf(reference.target, simulation)}, ` +
              `where the fixed kernel ${twin.world.kernel.release} has ${nameOf(there, { ...simulation, world: twin.world })} (${hex(there)})`,
            { symbol: one.name },
          );
        }
      }
    }
  }
  return { references, functions: whole };
}
