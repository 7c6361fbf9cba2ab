import { coldParent, isOwnCopy, stem } from '../object/names.ts';
import type { Atom, ObjectView } from '../object/view.ts';
import { Fingerprints } from './fingerprint.ts';

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
 * functions by what they do, and those that changed by the order in the object, where there are as many before as after.
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
  const uses = { original: new DataUses(original), patched: new DataUses(patched) };
  for (const [name, atoms] of byStem(patched)) {
    const others = before.get(name) ?? [];
    if (others.length === 0) continue;
    if (atoms.length === 1 && others.length === 1) {
      pairAll(atoms, others, pair);
      continue;
    }
    if (atoms[0]?.kind === 'data') pairByUse(uses.original.of(others), uses.patched.of(atoms), pair, ambiguous);
    else pairByContent(original, patched, others, atoms, pair);
    const left = atoms.filter((atom) => !same.has(atom) && !ambiguous.has(atom));
    const free = others.filter((atom) => !taken.has(atom) && !ambiguous.has(atom));
    if (left.length === free.length) pairAll(left, free, pair);
    // Static variables that no function of theirs is left for came or went by themselves; so did what is left on one side alone.
    else if (atoms[0]?.kind !== 'data' && left.length > 0 && free.length > 0)
      for (const atom of [...left, ...free]) ambiguous.add(atom);
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

/** Copies of one function that do the same as before: which number each has says nothing. */
function pairByContent(
  original: ObjectView,
  patched: ObjectView,
  others: readonly Atom[],
  atoms: readonly Atom[],
  pair: Pair,
): void {
  const byName = ({ kind, symbol, key }: Atom): string => `${kind} ${symbol === undefined ? key : stem(symbol.name)}`;
  const [before, after] = [new Fingerprints(original, byName), new Fingerprints(patched, byName)];
  const free = Map.groupBy(others, (atom) => before.of(atom));
  for (const atom of atoms) {
    const other = free.get(after.of(atom))?.shift();
    if (other !== undefined) pair(atom, other);
  }
}

function pairByUse(
  before: ReadonlyMap<string, readonly Atom[]>,
  after: ReadonlyMap<string, readonly Atom[]>,
  pair: Pair,
  ambiguous: Set<Atom>,
): void {
  const done = new Set<Atom>();
  const given = new Set<Atom>();
  for (const [user, list] of after) {
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

/** Which variables the functions of an object use, found once for all. */
class DataUses {
  readonly #view: ObjectView;
  #found: Map<Atom, { readonly user: string; readonly order: number }[]> | undefined;

  constructor(view: ObjectView) {
    this.#view = view;
  }

  /** Which of the atoms each function of the source uses, in the order of first use. */
  of(atoms: readonly Atom[]): Map<string, Atom[]> {
    this.#found ??= this.#find();
    const found = this.#found;
    const sorted = atoms
      .flatMap((atom) => (found.get(atom) ?? []).map((use) => ({ atom, ...use })))
      .sort((a, b) => a.order - b.order);
    const uses = new Map<string, Atom[]>();
    for (const { user, atom } of sorted) {
      const list = uses.get(user);
      if (list === undefined) uses.set(user, [atom]);
      else if (!list.includes(atom)) list.push(atom);
    }
    return uses;
  }

  #find(): Map<Atom, { user: string; order: number }[]> {
    const found = new Map<Atom, { user: string; order: number }[]>();
    let order = 0;
    for (const function_ of this.#view.functions) {
      const user = sourceName(function_.symbol?.name ?? '');
      for (const relocation of this.#view.relocationsIn(function_)) {
        const { atom } = this.#view.targetOf(function_.section, relocation);
        if (atom?.kind !== 'data') continue;
        const list = found.get(atom);
        if (list === undefined) found.set(atom, [{ user, order: order++ }]);
        else if (list.at(-1)?.user !== user) list.push({ user, order: order++ });
      }
    }
    return found;
  }
}
