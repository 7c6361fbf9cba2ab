import { STB_WEAK } from '@kmend/elf';
import { readModule } from '@kmend/kernel';
import type { Change } from '../compare/compare.ts';
import type { Atom } from '../object/atom.ts';
import type { BuildFacts } from '../shipped-kernel.ts';
import type { Reason, Unit } from '../types.ts';

/** Names of the functions that a change replaces, as the kernel has them. */
export function functionsOf({ changed }: Change): string[] {
  return [...changed.values()].map((atom) => atom.symbol?.name ?? '');
}

/**
 * A change without the defaults that the kernel does not run: its name leads to another definition, which is not this
 * unit's to replace.
 */
export function withoutDefaults(change: Change, overridden: readonly string[]): Change {
  if (overridden.length === 0) return change;
  const kept = [...change.changed].filter(([, atom]) => !overridden.includes(atom.symbol?.name ?? ''));
  return { ...change, changed: new Map(kept) };
}

/**
 * Changed defaults that another object overrides. The rest of the fix stands without them; that the other definition
 * has not the same flaw is for a person to see.
 */
export function weakReasons(
  { source, object }: Unit,
  changed: readonly string[],
  overridden: readonly string[],
): Reason[] {
  return changed
    .filter((name) => overridden.includes(name))
    .map((symbol) => ({
      code: 'weak-overridden',
      verdict: 'needs-review',
      message: `${symbol} of ${source} is a default (__weak), and ${object} runs another definition of it: the change has no effect there; see whether that definition has the same flaw`,
      source,
      symbol,
    }));
}

/**
 * New functions that the linker would let take the place of a default which the kernel runs: in a livepatch those who
 * call the default go on calling it.
 */
export async function overridingReasons(unit: Unit, added: readonly Atom[], facts: BuildFacts): Promise<Reason[]> {
  if (added.length === 0) return [];
  const isWeak = await weakNames(facts, unit);
  return added.flatMap((atom) => {
    const symbol = atom.symbol?.name ?? '';
    if (!isWeak(symbol)) return [];
    const message = `${symbol} is new in ${unit.source}, in place of a default of that name (__weak): callers in the kernel would continue with the default`;
    return [{ code: 'weak-overridden', verdict: 'refused' as const, message, source: unit.source, symbol }];
  });
}

/** Whether the kernel's own symbol of a name is a weak one. */
export async function weakNames(facts: BuildFacts, unit: Unit): Promise<(name: string) => boolean> {
  // nm(1): `W` and `V` are weak.
  if (unit.modulePath === undefined) return (name) => facts.symbols.named(name).some(({ type }) => /[wv]/i.test(type));
  const { symbols } = await readModule(unit.modulePath);
  const weak = new Set(symbols.filter(({ bind }) => bind === STB_WEAK).map(({ name }) => name));
  return (name) => weak.has(name);
}
