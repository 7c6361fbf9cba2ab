import type { Address } from './address.ts';
import { decode, type Instruction } from './instructions.ts';
import { type Reference, referencesOf } from './references.ts';
import type { World } from './world.ts';

/** A piece of shipped code: a function, or what the compiler moved out of one. */
export interface ShippedPart {
  readonly address: Address;
  readonly code: Uint8Array;
  readonly instructions: readonly Instruction[];
  /** Those that lead out of the piece. */
  readonly references: readonly Reference[];
}

/** A shipped function with its `.cold` parts, as the kernel's files have it; `undefined` if it cannot be read. */
export function shippedFunction(world: World, start: Address, end: Address): ShippedPart[] | undefined {
  const parts: ShippedPart[] = [];
  const waiting = [{ start, end }];
  const seen = new Set<Address>();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next.start)) continue;
    seen.add(next.start);
    const code = world.read(next.start, next.end - next.start);
    const instructions = code === undefined ? undefined : decode(code);
    if (code === undefined || instructions === undefined) return undefined;
    const { start: first, end: last } = next;
    const all = [...referencesOf(code, first, instructions), ...variablesRead(world, next, instructions)];
    all.sort((a, b) => a.at - b.at);
    const references = all.filter(({ target }) => target < first || target >= last);
    parts.push({ address: first, code, instructions, references });
    for (const { kind, target } of references) {
      if (kind !== 'jump' && kind !== 'branch') continue;
      const located = world.locate(target);
      if (located?.names.some((name) => name.includes('.cold')) === true)
        waiting.push({ start: located.start, end: located.end });
    }
  }
  return parts;
}

/**
 * Variables whose values the kernel writes into the code at boot, as if they were read: what a module does in their
 * place.
 */
function variablesRead(
  world: World,
  { start, end }: { readonly start: Address; readonly end: Address },
  instructions: readonly Instruction[],
): Reference[] {
  return world.runtimeOperands(start, end).flatMap(({ kind, at, variable }): Reference[] => {
    const target = kind === 'ptr' ? world.symbol(variable) : undefined;
    const reader = instructions.find(({ immediate }) => immediate?.at === at - start && immediate.size === 8);
    if (target === undefined || reader?.immediate === undefined) return [];
    const { at: place, immediate } = reader;
    return [{ kind: 'access', at: place, field: immediate, target, isShifted: false, isPerCpu: false }];
  });
}
