import { SHF_WRITE } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import { Fingerprints } from './fingerprint.ts';

/** Which variables of two objects functions that are the same refer to, whatever the compiler calls them. */
export class SameCode {
  readonly #original: ObjectView;
  readonly #patched: ObjectView;
  readonly #functions: ReadonlyMap<Atom, Atom>;
  readonly #before: Fingerprints;
  readonly #after: Fingerprints;
  #users: ReadonlyMap<Atom, ReadonlySet<Atom>> | undefined;
  #unique: ReadonlySet<Atom> | undefined;

  /** `functions`: those that are the same, patched to original. */
  constructor(original: ObjectView, patched: ObjectView, functions: ReadonlyMap<Atom, Atom>) {
    const byName = ({ kind, symbol, key }: Atom): string => `${kind} ${symbol === undefined ? key : stem(symbol.name)}`;
    this.#original = original;
    this.#patched = patched;
    this.#functions = functions;
    this.#before = new Fingerprints(original, byName);
    this.#after = new Fingerprints(patched, byName);
  }

  /**
   * Those of some patched variables that stand at the place of one of some original variables, and of no other,
   * wherever the code is equal: a function that did not change goes on with the state that it has.
   */
  atEqualPlaces(atoms: readonly Atom[], others: readonly Atom[]): Map<Atom, Atom> {
    return this.#counterparts(atoms, others, (now, old) => {
      if (this.#after.of(now) !== this.#before.of(old)) return [];
      const references = this.#original.referencesIn(old);
      return this.#patched.referencesIn(now).map(({ target }, index) => [target.atom, references[index]?.target.atom]);
    });
  }

  /**
   * Those that a function uses, changed or not, which used one of the original variables and uses one of the patched.
   * Certain only where a function cannot see two of them, as of variables of the file.
   */
  inSameFunctions(atoms: readonly Atom[], others: readonly Atom[]): Map<Atom, Atom> {
    const [now, old] = [new Set(atoms), new Set(others)];
    return this.#counterparts(atoms, others, (user, before) => {
      if (!this.#uniqueFunctions().has(user)) return [];
      const [atom, ...more] = used(this.#patched, user, now);
      const [other, ...rest] = used(this.#original, before, old);
      return more.length + rest.length > 0 ? [] : [[atom, other]];
    });
  }

  /** Both hold the same, and nothing can change it. */
  isSameConstant(atom: Atom, other: Atom): boolean {
    const isConstant = [atom, other].every(({ section }) => (section.flags & SHF_WRITE) === 0);
    return isConstant && this.#after.of(atom) === this.#before.of(other);
  }

  /** Nothing in its object leads to a variable. */
  isUnused(atom: Atom): boolean {
    return [this.#original, this.#patched].every((view) =>
      view.atoms.every((part) =>
        view.relocationsIn(part).every((found) => view.targetOf(part.section, found).atom !== atom),
      ),
    );
  }

  /** One to one: pairs that `meet` shows for no function otherwise. */
  #counterparts(
    atoms: readonly Atom[],
    others: readonly Atom[],
    meet: (now: Atom, old: Atom) => (readonly [Atom | undefined, Atom | undefined])[],
  ): Map<Atom, Atom> {
    const [wanted, allowed] = [new Set(atoms), new Set(others)];
    const after = new Map<Atom, Set<Atom>>();
    const before = new Map<Atom, Set<Atom>>();
    const users = this.#usersOfData();
    for (const user of new Set(atoms.flatMap((atom) => [...(users.get(atom) ?? [])]))) {
      const old = this.#functions.get(user);
      if (old === undefined) continue;
      for (const [atom, other] of meet(user, old)) {
        if (atom === undefined || other === undefined || !wanted.has(atom) || !allowed.has(other)) continue;
        add(after, atom, other);
        add(before, other, atom);
      }
    }
    const found = new Map<Atom, Atom>();
    for (const [atom, met] of after) {
      const [other] = met;
      if (other !== undefined && met.size === 1 && before.get(other)?.size === 1) found.set(atom, other);
    }
    return found;
  }

  /** The functions of the patched object that refer to each variable. */
  #usersOfData(): ReadonlyMap<Atom, ReadonlySet<Atom>> {
    if (this.#users !== undefined) return this.#users;
    const users = new Map<Atom, Set<Atom>>();
    for (const user of this.#functions.keys()) {
      for (const relocation of this.#patched.relocationsIn(user)) {
        const { atom } = this.#patched.targetOf(user.section, relocation);
        if (atom?.kind === 'data') add(users, atom, user);
      }
    }
    this.#users = users;
    return users;
  }

  /** Functions of the patched object of which neither has several of that name. */
  #uniqueFunctions(): ReadonlySet<Atom> {
    if (this.#unique !== undefined) return this.#unique;
    const [before, after] = [names(this.#original), names(this.#patched)];
    const isOne = (counts: ReadonlyMap<string, number>, name: string): boolean => counts.get(name) === 1;
    this.#unique = new Set(
      [...this.#functions.keys()].filter(({ symbol }) => {
        const name = stem(symbol?.name ?? '');
        return isOne(before, name) && isOne(after, name);
      }),
    );
    return this.#unique;
  }
}

function names(view: ObjectView): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { symbol } of view.functions) {
    const name = stem(symbol?.name ?? '');
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

function used(view: ObjectView, user: Atom, among: ReadonlySet<Atom>): Atom[] {
  const atoms = view.relocationsIn(user).map((relocation) => view.targetOf(user.section, relocation).atom);
  return [...new Set(atoms)].filter((atom) => atom !== undefined && among.has(atom)) as Atom[];
}

function add(map: Map<Atom, Set<Atom>>, key: Atom, value: Atom): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, new Set([value]));
  else known.add(value);
}
