import { isPlainConstant } from '../compare/carry.ts';
import { type Change, compareUnit } from '../compare/compare.ts';
import type { Atom } from '../object/atom.ts';
import type { ObjectView } from '../object/view.ts';
import type { Reason, Unit } from '../types.ts';

/**
 * What a stacked livepatch has to hold when others of the series lie below it: the functions that its own fix changes,
 * each with the earlier changes in it too, in terms of the kernel as shipped. State that an earlier livepatch added is
 * its own and cannot be reached.
 */
export function stackedChange(unit: Unit, stock: ObjectView, base: ObjectView, patched: ObjectView): Change {
  const fromBase = compareUnit(unit, base, patched);
  const fromStock = compareUnit(unit, stock, patched);
  const reasons: Reason[] = [...fromBase.reasons];
  const changed = new Map<Atom, Atom>();
  const again = new Set(fromBase.changed.keys());
  // A function that only the earlier livepatch has is not the kernel's to replace: who calls it has to come along.
  for (let size = -1; size !== again.size; ) {
    size = again.size;
    for (const atom of patched.functions) {
      if (again.has(atom)) continue;
      const targets = patched.referencesIn(atom).map(({ target }) => target.atom);
      if (targets.some((target) => target !== undefined && again.has(target) && fromStock.added.has(target)))
        again.add(atom);
    }
  }
  for (const atom of again) {
    const counterpart = fromStock.same.get(atom);
    if (counterpart !== undefined) changed.set(atom, counterpart);
  }
  for (const atom of changed.keys()) {
    const told = new Set<Atom>();
    for (const { atom: target } of patched.referencesIn(atom).map((reference) => reference.target)) {
      if (target?.kind !== 'data' || !fromStock.added.has(target) || fromBase.added.has(target) || told.has(target))
        continue;
      // It cannot change: each livepatch has its own.
      if (isPlainConstant(patched, target)) continue;
      told.add(target);
      const name = target.symbol?.name ?? target.key;
      reasons.push({
        code: 'stacked-state',
        verdict: 'refused',
        message: `${atom.symbol?.name} uses ${name}, which an earlier livepatch of the series added and keeps for itself: build a cumulative livepatch instead`,
        source: unit.source,
        symbol: name,
      });
    }
  }
  return { changed, added: fromStock.added, same: fromStock.same, reasons };
}
