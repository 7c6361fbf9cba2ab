import { SHF_WRITE, STB_LOCAL } from '@kmend/elf';
import { isBranch } from '../object/branch.ts';
import { isPieceSection } from '../object/tables.ts';
import type { Atom, ObjectView } from '../object/view.ts';
import { isReplaceableCode, isTraced } from './rules.ts';

/**
 * Changed parts that cannot be replaced, but of which the livepatch can have its own, when everything that uses them comes along:
 *
 * - private constants without addresses in them but of texts, used by functions alone: no live object can hold on to one, and nobody
 *   compares where it lies;
 * - private functions that are not traced (`notrace` helpers of headers, say) and are only called: as if they were inlined.
 *
 * Returns the functions that have to come along, by part.
 */
export function carriedAlong(
  original: ObjectView,
  patched: ObjectView,
  changed: ReadonlyMap<Atom, Atom>,
): ReadonlyMap<Atom, readonly Atom[]> {
  const candidates = new Map(
    [...changed].filter(
      ([atom, before]) =>
        (isPlainConstant(patched, atom) && isPlainConstant(original, before)) ||
        (isHidden(patched, atom) && isHidden(original, before)),
    ),
  );
  if (candidates.size === 0) return new Map();
  const before = usersOf(original, new Set(candidates.values()));
  const users = usersOf(patched, new Set(candidates.keys()));
  const carried = new Map<Atom, readonly Atom[]>();
  for (const [atom, counterpart] of candidates) {
    const now = users.get(atom) ?? [];
    const all = [...now, ...(before.get(counterpart) ?? [])];
    const usable =
      atom.kind === 'function' ? ({ isCall }: User) => isCall : ({ user }: User) => user.kind === 'function';
    if (all.length > 0 && all.every(usable)) carried.set(atom, [...new Set(now.map(({ user }) => user))]);
  }
  return carried;
}

function isPlainConstant(view: ObjectView, atom: Atom): boolean {
  return (
    atom.kind === 'data' &&
    atom.symbol?.bind === STB_LOCAL &&
    (atom.section.flags & SHF_WRITE) === 0 &&
    atom.section.name.startsWith('.rodata') &&
    view.relocationsIn(atom).every((relocation) => view.targetOf(atom.section, relocation).atom?.kind === 'string')
  );
}

function isHidden(view: ObjectView, atom: Atom): boolean {
  return (
    atom.kind === 'function' &&
    atom.symbol?.bind === STB_LOCAL &&
    isReplaceableCode(atom.section) &&
    !isTraced(view, atom)
  );
}

/** Whether a user of a carried part can be replaced, or be carried along itself. */
export function canComeAlong(original: ObjectView, user: Atom): boolean {
  return isReplaceableCode(user.section) && (isTraced(original, user) || isHidden(original, user));
}

interface User {
  readonly user: Atom;
  readonly isCall: boolean;
}

/** Everything that refers to one of the atoms, once a reference; what they refer to in themselves does not count. */
function usersOf(view: ObjectView, wanted: ReadonlySet<Atom>): Map<Atom, User[]> {
  const users = new Map<Atom, User[]>();
  for (const user of view.atoms) {
    for (const reference of view.referencesIn(user)) {
      const { atom } = reference.target;
      if (atom === undefined || atom === user || !wanted.has(atom)) continue;
      // Replacement instructions and code out of line, on their way back into the function that they are of.
      if (isPieceSection(user.section) && reference.target.offset !== 0) continue;
      const isCall = user.kind === 'function' && isBranch(user.section, reference);
      users.set(atom, [...(users.get(atom) ?? []), { user, isCall }]);
    }
  }
  return users;
}
