import { SHF_WRITE, STB_LOCAL } from '@kmend/elf';
import type { Atom, ObjectView } from '../object/view.ts';

/**
 * Changed constants of which the livepatch can hold its own: private to the unit, used by functions alone, and without addresses in them
 * but of texts, so that no live object can hold on to one and nobody compares where it lies. Returns the functions that have to come
 * along, by constant; a constant that is not in the answer stays the running kernel's.
 */
export function replaceableConstants(
  original: ObjectView,
  patched: ObjectView,
  changed: ReadonlyMap<Atom, Atom>,
): ReadonlyMap<Atom, readonly Atom[]> {
  const candidates = new Map(
    [...changed].filter(([atom, before]) => isPlain(patched, atom) && isPlain(original, before)),
  );
  if (candidates.size === 0) return new Map();
  const usersBefore = usersOf(original, new Set(candidates.values()));
  const users = usersOf(patched, new Set(candidates.keys()));
  const replaceable = new Map<Atom, readonly Atom[]>();
  for (const [atom, before] of candidates) {
    const all = [...(users.get(atom) ?? []), ...(usersBefore.get(before) ?? [])];
    if (all.every(({ kind }) => kind === 'function')) replaceable.set(atom, users.get(atom) ?? []);
  }
  return replaceable;
}

function isPlain(view: ObjectView, atom: Atom): boolean {
  return (
    atom.kind === 'data' &&
    atom.symbol?.bind === STB_LOCAL &&
    (atom.section.flags & SHF_WRITE) === 0 &&
    atom.section.name.startsWith('.rodata') &&
    view.relocationsIn(atom).every((relocation) => view.targetOf(atom.section, relocation).atom?.kind === 'string')
  );
}

/** Everything that refers to one of the atoms. */
function usersOf(view: ObjectView, wanted: ReadonlySet<Atom>): Map<Atom, Atom[]> {
  const users = new Map<Atom, Atom[]>();
  for (const user of view.atoms) {
    for (const relocation of view.relocationsIn(user)) {
      const { atom } = view.targetOf(user.section, relocation);
      if (atom === undefined || !wanted.has(atom)) continue;
      const list = users.get(atom) ?? [];
      if (!list.includes(user)) users.set(atom, [...list, user]);
    }
  }
  return users;
}
