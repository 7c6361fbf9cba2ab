import { copyable } from '../compare/carry.ts';
import type { Change } from '../compare/compare.ts';
import { isNumbered } from '../compare/rules.ts';
import type { ObjectView } from '../object/view.ts';
import type { UnitProof } from '../types.ts';

/**
 * A change with copies of those constants inside functions whose place in the kernel the byte proof does not show,
 * where a copy is as good. Of all others the kernel's own is meant, so that what cannot be found is refused.
 */
export function withCopies(view: ObjectView, change: Change, proof: Pick<UnitProof, 'addresses'>): Change {
  const unproven = [...change.same].filter(
    ([atom, { symbol }]) => atom.kind === 'data' && isNumbered(atom) && !proof.addresses.has(symbol?.name ?? ''),
  );
  const copies = copyable(
    view,
    unproven.map(([atom]) => atom),
  );
  if (copies.size === 0) return change;
  return {
    ...change,
    added: new Set([...change.added, ...copies]),
    same: new Map([...change.same].filter(([atom]) => !copies.has(atom))),
  };
}
