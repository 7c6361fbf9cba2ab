import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import { isOwnCopy } from '../object/own-copy.ts';
import type { ObjectView } from '../object/view.ts';
import { SourceFiles } from './files.ts';
import { Fingerprints } from './fingerprint.ts';
import { isNumbered } from './rules.ts';
import { StaticPairs } from './statics.ts';

/** Which named parts of two objects of one unit are the same thing. */
export interface Correlation {
  /** Patched atom to original atom, one to one. */
  readonly same: ReadonlyMap<Atom, Atom>;
  /** Atoms of either object that share their name with others and cannot be told from them, with the reason. */
  readonly ambiguous: ReadonlyMap<Atom, string>;
}

/**
 * Pairs functions and variables by what the source calls them. The compiler numbers what shares a name (`calls.3`,
 * `f.constprop.1`), and the numbers shift with every edit. Variables are told apart by whose they are (`StaticPairs`).
 * Copies of a function are told apart by what they do, and those that changed by the order in the object, where there
 * are as many before as after: whatever called the one and calls the other now has changed itself, and is replaced with
 * it.
 */
export function correlate(original: ObjectView, patched: ObjectView): Correlation {
  const same = new Map<Atom, Atom>();
  const taken = new Set<Atom>();
  const ambiguous = new Map<Atom, string>();
  const pair = (after: Atom, before: Atom): void => {
    same.set(after, before);
    taken.add(before);
  };
  const files = { original: new SourceFiles(original), patched: new SourceFiles(patched) };
  const areSeveral = files.original.areSeveral && files.patched.areSeveral;
  const before = byStem(original, areSeveral ? files.original : undefined);
  const after = byStem(patched, areSeveral ? files.patched : undefined);
  for (const [name, atoms] of after.functions) {
    const others = before.functions.get(name) ?? [];
    if (others.length === 0) continue;
    if (atoms.length > 1 || others.length > 1) pairByContent(original, patched, others, atoms, pair);
    const left = atoms.filter((atom) => !same.has(atom));
    const free = others.filter((atom) => !taken.has(atom));
    if (left.length === free.length) pairAll(left, free, pair);
    else if (left.length > 0 && free.length > 0) {
      const message = 'of several of that name some came or went: which is which is not certain';
      for (const atom of [...left, ...free]) ambiguous.set(atom, message);
    }
  }
  const functions = new Map(same);
  const statics = new StaticPairs(
    { view: original, files: files.original },
    { view: patched, files: files.patched },
    functions,
    pair,
  );
  for (const [name, atoms] of after.data) {
    const others = before.data.get(name) ?? [];
    // One variable of the file on either side: nothing else in the unit can have its name.
    const isPlain = !areSeveral && atoms.length === 1 && others.length === 1 && ![...atoms, ...others].some(isNumbered);
    if (isPlain) pairAll(atoms, others, pair);
    else if (others.length > 0) statics.pairGroup({ original: others, patched: atoms });
  }
  return { same, ambiguous: new Map([...ambiguous, ...statics.ambiguous]) };
}

type Pair = (after: Atom, before: Atom) => void;

function pairAll(atoms: readonly Atom[], others: readonly Atom[], pair: Pair): void {
  for (const [index, atom] of atoms.entries()) {
    const other = others[index];
    if (other !== undefined) pair(atom, other);
  }
}

interface Named {
  readonly functions: Map<string, Atom[]>;
  readonly data: Map<string, Atom[]>;
}

/**
 * Named atoms by their name without numbers, in the object's order; private functions of several files also by their
 * file.
 */
function byStem(view: ObjectView, files: SourceFiles | undefined): Named {
  const named: Named = { functions: new Map(), data: new Map() };
  for (const atom of view.atoms) {
    if (atom.symbol === undefined || isNoise(atom)) continue;
    const name = stem(atom.symbol.name);
    const groups = atom.kind === 'function' ? named.functions : named.data;
    const key = atom.kind === 'function' && files !== undefined ? `${files.of(atom)} ${name}` : name;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [atom]);
    else group.push(atom);
  }
  return named;
}

/** Data of which every copy is as good as another. */
export function isNoise(atom: Atom): boolean {
  return isOwnCopy(atom);
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
