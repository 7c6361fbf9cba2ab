import { type ElfFile, SHN_UNDEF } from '@kmend/elf';
import { moduleSymbols } from '@kmend/kernel/image';
import type { Change } from '../compare/compare.ts';
import { destinationOf, select } from '../extract/extract.ts';
import type { ObjectView } from '../object/view.ts';
import type { InKernel, NeededReference } from './model.ts';
import type { SymbolList } from './symbols.ts';

/** Whose symbols the running kernel has: of a module, its own object shows them. */
export interface Owner {
  readonly module: string | undefined;
  readonly original: ElfFile;
  readonly symbols: SymbolList | undefined;
}

/**
 * Names in the owner and how often; a unit whose owner is not known is looked for in vmlinux first, then in the modules
 * listed.
 */
export function namesOf({ module, original, symbols }: Owner): (name: string) => InKernel {
  if (module !== undefined) {
    const counts = new Map<string, number>();
    for (const { name } of moduleSymbols(original)) counts.set(name, (counts.get(name) ?? 0) + 1);
    return (name) => stateOf(counts.get(name) ?? 0);
  }
  if (symbols === undefined) return () => ({ state: 'unknown' });
  const modules = [...symbols.counts].filter(([owner]) => owner !== 'vmlinux').map(([, counts]) => counts);
  return (name) => {
    const inVmlinux = symbols.counts.get('vmlinux')?.get(name) ?? 0;
    return stateOf(inVmlinux || modules.reduce((sum, counts) => sum + (counts.get(name) ?? 0), 0));
  };
}

function stateOf(count: number): InKernel {
  if (count > 1) return { state: 'ambiguous', count };
  return { state: count === 1 ? 'once' : 'absent' };
}

/**
 * What a livepatch of the changed functions, and of all that they bring along, would take from the running kernel, by
 * the kernel's names.
 */
export function neededReferences(view: ObjectView, change: Change, owner: Owner): NeededReference[] {
  const needed = new Map<string, NeededReference>();
  const { atoms, entries } = select(view, change);
  for (const part of [...atoms, ...entries.filter(({ meaningful }) => meaningful)]) {
    for (const reference of view.referencesIn(part)) {
      const { kind, target } = destinationOf(change, part, reference);
      if (kind === 'own') continue;
      const original = target.atom === undefined ? undefined : change.same.get(target.atom);
      const symbol = original?.symbol ?? target.atom?.symbol ?? target.symbol;
      if (symbol.name === '' || needed.has(symbol.name)) continue;
      const local = symbol.place !== SHN_UNDEF;
      needed.set(symbol.name, { name: symbol.name, local, standing: standingOf(symbol.name, local, owner) });
    }
  }
  return [...needed.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function standingOf(name: string, local: boolean, { module, symbols }: Owner): NeededReference['standing'] {
  // Whatever a module defines, exported or not: the livepatch may be there before the module is.
  if (local && module !== undefined) return 'unexported';
  if (symbols === undefined) return 'unknown';
  if (symbols.exports?.has(name) === true) return 'exported';
  if (![...symbols.counts.values()].some((counts) => counts.has(name))) return 'absent';
  return symbols.exports === undefined ? 'unknown' : 'unexported';
}
