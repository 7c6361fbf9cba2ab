import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import type { SourceFiles } from './files.ts';
import { type Owner, Owners } from './owners.ts';
import { isNumbered } from './rules.ts';
import { SameCode } from './same-code.ts';

/** Variables of one name without the compiler's number, in two objects. */
export interface DataGroup {
  readonly original: readonly Atom[];
  readonly patched: readonly Atom[];
}

/** One object, and what tells its variables apart. */
interface Side {
  readonly view: ObjectView;
  readonly owners: Owners;
  readonly files: SourceFiles;
}

/** Where a variable is declared, as far as that is certain. */
interface Home {
  /**
   * `function`: a static variable inside one; `held`: nameless in the source, and another variable's initial value
   * leads to it.
   */
  readonly kind: 'file' | 'function' | 'held' | 'unknown';
  readonly key: string;
  readonly owner?: Owner;
}

type Pair = (after: Atom, before: Atom) => void;

/** How many literals one inside the other are followed. */
const DEEPEST = 8;

/**
 * Pairs the variables that share a name. Which is which decides whose live state new code uses: each belongs to the
 * file or to one function of the source, whatever that is inlined into or split to, and is never paired with another's
 * because both are left over. What is not certain is ambiguous.
 */
export class StaticPairs {
  readonly #original: Side;
  readonly #patched: Side;
  readonly #code: SameCode;
  readonly #pair: Pair;
  readonly #holders = new Map<ObjectView, Map<Atom, { readonly holder: Atom; readonly offset: number }[]>>();
  /** Variables of either object that cannot be told apart, and why not. */
  readonly ambiguous = new Map<Atom, string>();

  /** `functions`: those that are the same, patched to original. */
  constructor(
    original: { readonly view: ObjectView; readonly files: SourceFiles },
    patched: { readonly view: ObjectView; readonly files: SourceFiles },
    functions: ReadonlyMap<Atom, Atom>,
    pair: Pair,
  ) {
    this.#original = { ...original, owners: new Owners(original.view) };
    this.#patched = { ...patched, owners: new Owners(patched.view) };
    this.#code = new SameCode(original.view, patched.view, functions);
    this.#pair = pair;
  }

  pairGroup({ original, patched }: DataGroup): void {
    const left: { readonly atom: Atom; readonly home: Home }[] = [];
    const [before, after] = [this.#homes(this.#original, original), this.#homes(this.#patched, patched)];
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      const [olds, news] = [before.get(key) ?? [], after.get(key) ?? []];
      const home = (olds[0] ?? news[0])?.home;
      if (home === undefined) continue;
      const paired = new Set<Atom>();
      const pair: Pair = (atom, other) => {
        this.#pair(atom, other);
        paired.add(atom).add(other);
      };
      if (olds.length > 0 && news.length > 0) this.#pairAtHome(home, olds, news, pair);
      const [free, rest] = [olds, news].map((list) => list.filter(({ atom }) => !paired.has(atom))) as [
        Placed[],
        Placed[],
      ];
      if (free.length > 0 && rest.length > 0) this.#unclear([...free, ...rest], 'several');
      else left.push(...free, ...rest);
    }
    this.#settleRest(left, new Set(original));
  }

  #pairAtHome(home: Home, olds: readonly Placed[], news: readonly Placed[], pair: Pair): void {
    if (home.kind === 'file' || home.kind === 'held') {
      pairOnly(olds, news, pair);
      if (olds.length > 1 || news.length > 1) this.#pairOfFiles(olds, news, pair);
      return;
    }
    const isNested = ({ home: { owner } }: Placed): boolean => owner?.nested ?? true;
    const isOutermost = (placed: Placed): boolean => !isNested(placed);
    // C has one variable of a name in a scope.
    pairOnly(olds.filter(isOutermost), news.filter(isOutermost), pair);
    const [inner, now] = [olds.filter(isNested), news.filter(isNested)];
    if (inner.length === 0 || now.length === 0) return;
    const [open, fresh] = pairFound(this.#code.atEqualPlaces(atomsOf(now), atomsOf(inner)), inner, now, pair);
    // Blocks have no names: one at the same place of the source is taken for the same, where nothing else is there to
    // be mistaken for it.
    if (inner.length === 1 && now.length === 1 && isSamePlace(open[0], fresh[0])) pairOnly(open, fresh, pair);
    if (!this.#areOwnersKnown && inner.length === 1 && now.length === 1) this.#pairWithoutOwners(open, fresh, pair);
  }

  /**
   * The only one of a name in either object, of which no debug information tells the owner (modules as shipped): the
   * same where the same functions use it, such as `ext4_grpinfo_slab_create_mutex.17`, and where none does
   * (`kvm_emulate_prefix.597`, which the compiler made immediates of). A constant is as good as another one of the same
   * content (`adcm2700_matrix.34`, which a table of gspca_zc3xx leads to).
   */
  #pairWithoutOwners(open: readonly Placed[], fresh: readonly Placed[], pair: Pair): void {
    const [rest, left] = pairFound(this.#code.inSameFunctions(atomsOf(fresh), atomsOf(open)), open, fresh, pair);
    const [old, now] = [rest[0]?.atom, left[0]?.atom];
    if (old === undefined || now === undefined) return;
    if (this.#code.isSameConstant(now, old) || [old, now].every((atom) => this.#code.isUnused(atom)))
      pairOnly(rest, left, pair);
  }

  /**
   * Of several files of a module that was stripped of their names: a function sees one variable of a name, that of its
   * file.
   */
  #pairOfFiles(olds: readonly Placed[], news: readonly Placed[], pair: Pair): void {
    const [open, fresh] = pairFound(this.#code.atEqualPlaces(atomsOf(news), atomsOf(olds)), olds, news, pair);
    const [rest, left] = pairFound(this.#code.inSameFunctions(atomsOf(fresh), atomsOf(open)), open, fresh, pair);
    const before = Map.groupBy(rest, ({ atom }) => this.#heldBy(this.#original, atom));
    const after = Map.groupBy(left, ({ atom }) => this.#heldBy(this.#patched, atom));
    for (const [key, list] of after) if (key !== undefined) pairOnly(before.get(key) ?? [], list, pair);
  }

  /** What came and went by itself is no question, unless it may have become the other. */
  #settleRest(left: readonly Placed[], original: ReadonlySet<Atom>): void {
    const gone = left.filter(({ atom }) => original.has(atom));
    const come = left.filter(({ atom }) => !original.has(atom));
    if (gone.length === 0 || come.length === 0) return;
    const isSettled = ({ home: { kind } }: Placed): boolean => kind === 'function' || kind === 'held';
    if (!left.every(isSettled)) this.#unclear(left, 'moved');
  }

  #unclear(list: readonly Placed[], why: 'several' | 'moved'): void {
    const message = !this.#areOwnersKnown
      ? 'without debug information it is not certain which is which; compile with -g'
      : why === 'several'
        ? 'its function has several of that name in its blocks, or it is in another block than before: which is which is not certain'
        : 'one of that name is gone and another appeared elsewhere: it is not certain whether it continues with the old state';
    for (const { atom } of list) this.ambiguous.set(atom, message);
  }

  #homes(side: Side, atoms: readonly Atom[]): Map<string, Placed[]> {
    return Map.groupBy(
      atoms.map((atom) => ({ atom, home: this.#home(side, atom) })),
      ({ home }) => `${home.kind} ${home.key}`,
    );
  }

  #home(side: Side, atom: Atom, depth = 0): Home {
    const isTwice = this.#isFileTwice(side, atom);
    // Of one side alone it says nothing about the other.
    const owner = (isNumbered(atom) || isTwice) && this.#areOwnersKnown ? side.owners.of(atom) : undefined;
    // The folder tells files of one name apart; those above it are where the kernel was compiled.
    const file = isTwice && owner !== undefined ? owner.unit.split('/').slice(-2).join('/') : this.#file(side, atom);
    if (owner?.function !== undefined) return { kind: 'function', key: `${file} ${owner.function}`, owner };
    if (owner !== undefined || !isNumbered(atom)) return { kind: 'file', key: file };
    const held = this.#heldBy(side, atom, depth);
    return held === undefined ? { kind: 'unknown', key: file } : { kind: 'held', key: `${file} ${held}` };
  }

  /** The variables that lead to one, where all of them are certain themselves. */
  #heldBy(side: Side, atom: Atom, depth = 0): string | undefined {
    const held = depth < DEEPEST ? this.#holdersOf(side.view, atom) : [];
    const keys = held.flatMap(({ holder, offset }) => {
      const home = this.#home(side, holder, depth + 1);
      return home.kind === 'unknown' ? [] : [`${home.kind} ${home.key} ${stem(holder.symbol?.name ?? '')}+${offset}`];
    });
    return keys.length > 0 && keys.length === held.length ? keys.sort().join() : undefined;
  }

  get #areOwnersKnown(): boolean {
    return this.#original.owners.areKnown && this.#patched.owners.areKnown;
  }

  get #files(): readonly SourceFiles[] {
    return [this.#original.files, this.#patched.files];
  }

  #file(side: Side, atom: Atom): string {
    return this.#files.every(({ areSeveral }) => areSeveral) ? side.files.of(atom) : '';
  }

  #isFileTwice(side: Side, atom: Atom): boolean {
    const name = this.#file(side, atom);
    return name !== '' && this.#files.some((files) => files.isTwice(name));
  }

  /** Variables whose initial value leads to one. */
  #holdersOf(view: ObjectView, atom: Atom): readonly { readonly holder: Atom; readonly offset: number }[] {
    let all = this.#holders.get(view);
    if (all === undefined) {
      all = new Map();
      this.#holders.set(view, all);
      for (const holder of view.atoms) {
        if (holder.kind !== 'data') continue;
        for (const relocation of view.relocationsIn(holder)) {
          const target = view.targetOf(holder.section, relocation).atom;
          if (target?.kind !== 'data' || target === holder) continue;
          const list = all.get(target);
          const held = { holder, offset: relocation.offset - holder.start };
          if (list === undefined) all.set(target, [held]);
          else list.push(held);
        }
      }
    }
    return all.get(atom) ?? [];
  }
}

interface Placed {
  readonly atom: Atom;
  readonly home: Home;
}

function pairOnly(olds: readonly Placed[], news: readonly Placed[], pair: Pair): void {
  const [old, fresh] = [olds[0], news[0]];
  if (olds.length === 1 && news.length === 1 && old !== undefined && fresh !== undefined) pair(fresh.atom, old.atom);
}

/** Pairs what was found; what is left, original and patched. */
function pairFound(
  found: ReadonlyMap<Atom, Atom>,
  olds: readonly Placed[],
  news: readonly Placed[],
  pair: Pair,
): [Placed[], Placed[]] {
  for (const [atom, other] of found) pair(atom, other);
  const taken = new Set(found.values());
  return [olds.filter(({ atom }) => !taken.has(atom)), news.filter(({ atom }) => !found.has(atom))];
}

function atomsOf(list: readonly Placed[]): Atom[] {
  return list.map(({ atom }) => atom);
}

function isSamePlace(old: Placed | undefined, fresh: Placed | undefined): boolean {
  const [before, after] = [old?.home.owner, fresh?.home.owner];
  if (before === undefined || after === undefined) return false;
  return before.place === after.place && before.type() === after.type();
}
