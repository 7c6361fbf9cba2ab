import { SHF_WRITE, STB_LOCAL } from '@kmend/elf';
import { type AddressUse, addressUse } from '../object/address-use.ts';
import type { Atom } from '../object/atom.ts';
import { isBranch } from '../object/branch.ts';
import { isPieceSection } from '../object/tables.ts';
import type { ObjectView } from '../object/view.ts';
import { isReplaceableCode, isTraced } from './rules.ts';

/**
 * Changed parts that cannot be replaced, but of which the livepatch can have its own, when everything that uses them
 * comes along:
 *
 * - private constants without addresses in them but of texts, used by functions alone;
 * - private constants with addresses in them, where functions alone use them and only read them at their place
 *   (`table[i]`): no live object can store its address, and no code compares its address;
 * - private functions that are not traced (`notrace` helpers of headers, say) and are only called: as if they were
 *   inlined.
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
        (isPrivateConstant(atom) && isPrivateConstant(before)) ||
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
    const isPlain = isPlainConstant(patched, atom) && isPlainConstant(original, counterpart);
    const usable =
      atom.kind === 'function'
        ? ({ isCall }: User) => isCall
        : ({ user, use }: User) => user.kind === 'function' && (isPlain || use === 'operand');
    if (all.length > 0 && all.every(usable)) carried.set(atom, [...new Set(now.map(({ user }) => user))]);
  }
  return carried;
}

/**
 * Private constants of which a livepatch's own copy is as good as the kernel's: without addresses in them but of texts,
 * and only read at their place, so that no object can store the address, and no code compares it. Of some atoms of the
 * object.
 */
export function copyable(view: ObjectView, atoms: Iterable<Atom>): ReadonlySet<Atom> {
  const plain = new Set([...atoms].filter((atom) => isPlainConstant(view, atom)));
  if (plain.size === 0) return plain;
  const users = usersOf(view, plain);
  const isRead = ({ user, use }: User): boolean => user.kind === 'function' && use === 'operand';
  return new Set([...plain].filter((atom) => (users.get(atom) ?? []).every(isRead)));
}

function isPrivateConstant({ kind, symbol, section }: Atom): boolean {
  return (
    kind === 'data' &&
    symbol?.bind === STB_LOCAL &&
    (section.flags & SHF_WRITE) === 0 &&
    section.name.startsWith('.rodata')
  );
}

/** A private constant without addresses in it but of texts. */
export function isPlainConstant(view: ObjectView, atom: Atom): boolean {
  return (
    isPrivateConstant(atom) &&
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
  /** What a function does with the place; absent for other users. */
  readonly use: AddressUse['kind'] | undefined;
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
      const use = user.kind === 'function' ? addressUse(view, user, reference).kind : undefined;
      users.set(atom, [...(users.get(atom) ?? []), { user, isCall, use }]);
    }
  }
  return users;
}
