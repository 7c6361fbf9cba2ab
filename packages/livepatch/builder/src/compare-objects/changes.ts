import { STB_LOCAL } from '@kmend/elf';
import type { UnitChange } from '../compare/compare.ts';
import { isNoise } from '../compare/correlate.ts';
import type { Atom } from '../object/atom.ts';
import { coldParent, unpromoted } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import { dataDifference, type FoundDifference, functionDifference, referredNames } from './difference.ts';
import type { MovedLine } from './line-moved.ts';
import type { ChangedItem, Changes, Item, LineMoved } from './model.ts';
import type { Side } from './side.ts';

/** A changed part, before its difference has the text of the instructions. */
export type DraftItem = Omit<ChangedItem, 'difference'> & { readonly found: FoundDifference };
export type Draft = Omit<Changes, 'changed'> & { readonly changed: readonly DraftItem[] };

export interface Compared {
  readonly original: ObjectView;
  readonly patched: ObjectView;
  readonly change: UnitChange;
  /** What differs in line numbers alone, by its part of the patched object. */
  readonly lines: ReadonlyMap<Atom, MovedLine>;
}

/** Functions that changed, came and went. What the compiler split off as `.cold` is told of with its function. */
export function functionChanges(compared: Compared): Draft {
  const { evidence } = compared.change;
  const differing = [...evidence.differing].filter(([atom]) => atom.kind === 'function');
  const own = new Set(differing.map(([atom]) => nameOf(atom)));
  const told = differing.filter(([atom]) => !own.has(coldParent(nameOf(atom)) ?? ''));
  const byName = new Map(compared.patched.functions.map((atom) => [nameOf(atom), atom]));
  const changed = told.map(([atom, before]) => {
    const parent = byName.get(coldParent(nameOf(atom)) ?? '');
    const item = changedItem(compared, atom, before, functionDifference);
    if (parent === undefined) return item;
    const { originalName: _, ...rest } = item;
    const named = originalNameOf(parent, evidence.correlation.same.get(parent));
    return { ...rest, ...named, name: nameOf(parent), section: parent.section.name };
  });
  const isOwn = (atom: Atom): boolean => coldParent(nameOf(atom)) === undefined;
  return { ...comings(compared, 'function', isOwn, new Set(changed.map(({ name }) => name))), changed };
}

/** Named variables and constants that changed, came and went; not those of which every copy is as good as another. */
export function dataChanges(compared: Compared): Draft {
  const differing = [...compared.change.evidence.differing].filter(([atom]) => atom.kind === 'data');
  const changed = differing.map(([atom, before]) => changedItem(compared, atom, before, dataDifference));
  return { ...comings(compared, 'data', (atom) => !isNoise(atom), new Set()), changed };
}

/** `changed`: names of functions that are told of as changed, if only by a part that was split off. */
function comings(
  { original, patched, change, lines }: Compared,
  kind: Atom['kind'],
  counts: (atom: Atom) => boolean,
  changed: ReadonlySet<string>,
): Omit<Changes, 'changed'> {
  const { correlation, differing } = change.evidence;
  const kept = new Set(correlation.same.values());
  const isCounted = (atom: Atom): boolean => atom.kind === kind && atom.symbol !== undefined && counts(atom);
  const added = patched.atoms.filter((atom) => isCounted(atom) && !correlation.same.has(atom));
  const removed = original.atoms.filter((atom) => isCounted(atom) && !kept.has(atom));
  const pairs = [...correlation.same].filter(([atom]) => atom.kind === kind);
  const moved = new Map<string, LineMoved>();
  for (const [atom, line] of lines) {
    if (atom.kind !== kind) continue;
    const parent = patched.functions.find((candidate) => nameOf(candidate) === coldParent(nameOf(atom))) ?? atom;
    if (!changed.has(nameOf(parent))) moved.set(nameOf(parent), { ...itemOf(parent), line });
  }
  const isTold = (atom: Atom): boolean => differing.has(atom) || changed.has(nameOf(atom)) || moved.has(nameOf(atom));
  return {
    same: pairs.filter(([atom]) => counts(atom) && !isTold(atom)).length,
    lineMoved: [...moved.values()],
    added: [...added.map(itemOf), ...pairs.flatMap(([atom, before]) => newAliases(atom, before))],
    removed: [...removed.map(itemOf), ...pairs.flatMap(([atom, before]) => newAliases(before, atom))],
  };
}

function changedItem(
  { original, patched, change }: Compared,
  atom: Atom,
  before: Atom,
  find: (before: Side, after: Side, original: Atom, patched: Atom) => FoundDifference,
): DraftItem {
  const sides = [
    { view: original, prints: change.evidence.original },
    { view: patched, prints: change.evidence.patched },
  ] as const;
  const [old, now] = [referredNames(original, before), referredNames(patched, atom)];
  return {
    ...itemOf(atom),
    ...originalNameOf(atom, before),
    originalSize: before.end - before.start,
    found: find(...sides, before, atom),
    gained: [...now].filter((name) => !old.has(name)),
    lost: [...old].filter((name) => !now.has(name)),
  };
}

function originalNameOf(atom: Atom, before: Atom | undefined): { readonly originalName?: string } {
  return before === undefined || nameOf(before) === nameOf(atom) ? {} : { originalName: nameOf(before) };
}

/** Names that other units could use, which the one has and the other has not. */
function newAliases(atom: Atom, other: Atom): Item[] {
  const known = new Set([nameOf(other), ...other.aliases.map(({ name }) => name)].map(unpromoted));
  return [atom.symbol ?? [], ...atom.aliases]
    .flat()
    .filter(({ name, bind }) => bind !== STB_LOCAL && !known.has(unpromoted(name)))
    .map(({ name }) => ({ ...itemOf(atom), name }));
}

function itemOf(atom: Atom): Item {
  return { name: nameOf(atom), section: atom.section.name, size: atom.end - atom.start };
}

function nameOf(atom: Atom): string {
  return atom.symbol?.name ?? '';
}
