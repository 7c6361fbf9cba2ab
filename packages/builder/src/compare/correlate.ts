import { coldParent, isOwnCopy, stem } from '../object/names.ts';
import type { Atom, ObjectView } from '../object/view.ts';

/** Which named parts of two objects of one unit are the same thing. */
export interface Correlation {
  /** Patched atom to original atom, one to one. */
  readonly same: ReadonlyMap<Atom, Atom>;
  /** Atoms of either object that share their name with others, and cannot be told from them. */
  readonly ambiguous: ReadonlySet<Atom>;
}

/**
 * Pairs functions and variables by what the source calls them. The compiler numbers what shares a name (`calls.3`, `f.constprop.1`), and
 * the numbers shift with every edit: static variables are told apart by the function that uses them, and the order in which it does;
 * anything else by the order in the object, where there are as many before as after.
 */
export function correlate(original: ObjectView, patched: ObjectView): Correlation {
  const same = new Map<Atom, Atom>();
  const taken = new Set<Atom>();
  const ambiguous = new Set<Atom>();
  const pair = (after: Atom, before: Atom): void => {
    same.set(after, before);
    taken.add(before);
  };
  const before = byStem(original);
  for (const [name, atoms] of byStem(patched)) {
    const others = before.get(name) ?? [];
    if (others.length === 0) continue;
    if (atoms.length === 1 && others.length === 1) {
      pairAll(atoms, others, pair);
      continue;
    }
    if (atoms[0]?.kind === 'data') pairByUse(original, patched, others, atoms, pair, ambiguous);
    const left = atoms.filter((atom) => !same.has(atom) && !ambiguous.has(atom));
    const free = others.filter((atom) => !taken.has(atom) && !ambiguous.has(atom));
    if (left.length === free.length) pairAll(left, free, pair);
    // Static variables that no function of theirs is left for came or went by themselves.
    else if (atoms[0]?.kind !== 'data') for (const atom of [...left, ...free]) ambiguous.add(atom);
  }
  return { same, ambiguous };
}

type Pair = (after: Atom, before: Atom) => void;

function pairAll(atoms: readonly Atom[], others: readonly Atom[], pair: Pair): void {
  for (const [index, atom] of atoms.entries()) {
    const other = others[index];
    if (other !== undefined) pair(atom, other);
  }
}

/** Named atoms of one kind by their name without numbers, in the object's order. */
function byStem(view: ObjectView): Map<string, Atom[]> {
  const groups = new Map<string, Atom[]>();
  for (const atom of view.atoms) {
    if (atom.symbol === undefined || isNoise(atom)) continue;
    const name = `${atom.kind} ${stem(atom.symbol.name)}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [atom]);
    else group.push(atom);
  }
  return groups;
}

/** Data of which every copy is as good as another. */
export function isNoise(atom: Atom): boolean {
  return atom.kind === 'data' && isOwnCopy(atom.symbol?.name ?? '', atom.section.name);
}

/** The function that the source has: without what the compiler split off or specialised. */
export function sourceName(name: string): string {
  return (coldParent(name) ?? name).replace(/\.(?:part|isra|constprop|cold)\b.*$/, '');
}

function pairByUse(
  original: ObjectView,
  patched: ObjectView,
  others: readonly Atom[],
  atoms: readonly Atom[],
  pair: Pair,
  ambiguous: Set<Atom>,
): void {
  const before = usesOf(original, new Set(others));
  const done = new Set<Atom>();
  const given = new Set<Atom>();
  for (const [user, list] of usesOf(patched, new Set(atoms))) {
    const left = list.filter((atom) => !done.has(atom));
    const free = (before.get(user) ?? []).filter((atom) => !given.has(atom));
    if (left.length === 0 || free.length === 0) continue;
    // One that came or went among several of one name in one function: which is which decides what state is kept.
    if (left.length !== free.length) for (const atom of [...left, ...free]) ambiguous.add(atom);
    else {
      for (const [index, atom] of left.entries()) {
        const other = free[index];
        if (other === undefined) continue;
        pair(atom, other);
        given.add(other);
      }
    }
    for (const atom of left) done.add(atom);
  }
}

/** Which of the atoms each function uses, in the order of first use. */
function usesOf(view: ObjectView, wanted: ReadonlySet<Atom>): Map<string, Atom[]> {
  const uses = new Map<string, Atom[]>();
  for (const user of view.functions) {
    const name = sourceName(user.symbol?.name ?? '');
    for (const relocation of view.relocationsIn(user)) {
      const { atom } = view.targetOf(user.section, relocation);
      if (atom === undefined || !wanted.has(atom)) continue;
      const list = uses.get(name) ?? [];
      if (!list.includes(atom)) uses.set(name, [...list, atom]);
    }
  }
  return uses;
}
