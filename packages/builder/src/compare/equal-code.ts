import { stem } from '../object/names.ts';
import type { Atom, ObjectView } from '../object/view.ts';
import { Fingerprints } from './fingerprint.ts';

/**
 * Which variables the same code refers to at the same place, in two objects: a function that did not change goes on with the state that
 * it has, whatever the compiler calls it.
 */
export class EqualCode {
  readonly #original: ObjectView;
  readonly #patched: ObjectView;
  readonly #functions: ReadonlyMap<Atom, Atom>;
  #met: { readonly after: Map<Atom, Set<Atom>>; readonly before: Map<Atom, Set<Atom>> } | undefined;

  /** `functions`: those that are the same, patched to original. */
  constructor(original: ObjectView, patched: ObjectView, functions: ReadonlyMap<Atom, Atom>) {
    this.#original = original;
    this.#patched = patched;
    this.#functions = functions;
  }

  /** Those of some patched variables that stand for one of some original variables, and for no other, wherever code is the same. */
  counterparts(atoms: readonly Atom[], others: ReadonlySet<Atom>): Map<Atom, Atom> {
    this.#met ??= this.#compare();
    const { after, before } = this.#met;
    const wanted = new Set(atoms);
    const found = new Map<Atom, Atom>();
    for (const atom of atoms) {
      const [other, ...more] = [...(after.get(atom) ?? [])].filter((each) => others.has(each));
      if (other === undefined || more.length > 0) continue;
      const back = [...(before.get(other) ?? [])].filter((each) => wanted.has(each));
      if (back.length === 1) found.set(atom, other);
    }
    return found;
  }

  #compare(): { after: Map<Atom, Set<Atom>>; before: Map<Atom, Set<Atom>> } {
    const byName = ({ kind, symbol, key }: Atom): string => `${kind} ${symbol === undefined ? key : stem(symbol.name)}`;
    const [before, after] = [new Fingerprints(this.#original, byName), new Fingerprints(this.#patched, byName)];
    const met = { after: new Map<Atom, Set<Atom>>(), before: new Map<Atom, Set<Atom>>() };
    for (const [now, old] of this.#functions) {
      if (after.of(now) !== before.of(old)) continue;
      const references = this.#original.referencesIn(old);
      for (const [index, { target }] of this.#patched.referencesIn(now).entries()) {
        const counterpart = references[index]?.target.atom;
        if (target.atom?.kind !== 'data' || counterpart?.kind !== 'data') continue;
        add(met.after, target.atom, counterpart);
        add(met.before, counterpart, target.atom);
      }
    }
    return met;
  }
}

function add(map: Map<Atom, Set<Atom>>, key: Atom, value: Atom): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, new Set([value]));
  else known.add(value);
}
