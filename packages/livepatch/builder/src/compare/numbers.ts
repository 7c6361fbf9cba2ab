import type { Atom } from '../object/atom.ts';
import type { ObjectView } from '../object/view.ts';
import { isNoise } from './correlate.ts';
import { type Owner, Owners } from './owners.ts';
import { isNumbered } from './rules.ts';

/**
 * Names with a number that do not surely mean the same variable in two compilations of one source: `calls.1` of the one
 * may be `calls.2` of the other. They are the same where the debug information gives them one place, and that to no
 * other variable.
 */
export function numberedApart(first: ObjectView, second: ObjectView): ReadonlySet<string> {
  const places = [numberedPlaces(first), numberedPlaces(second)] as const;
  const names = new Set(places.flatMap((each) => [...each.keys()]));
  return new Set([...names].filter((name) => places[0].get(name) !== places[1].get(name) || !places[0].get(name)));
}

/** By name; `undefined` where several variables are declared at one place, or the debug information does not tell. */
function numberedPlaces(view: ObjectView): Map<string, string | undefined> {
  const owners = new Owners(view);
  const numbered = view.atoms.filter((atom) => atom.kind === 'data' && isNumbered(atom) && !isNoise(atom));
  const texts = new Map<Atom, string | undefined>(numbered.map((atom) => [atom, placeText(owners.of(atom))]));
  const counts = new Map<string | undefined, number>();
  for (const text of texts.values()) counts.set(text, (counts.get(text) ?? 0) + 1);
  return new Map(
    [...texts].map(([{ symbol }, text]) => [symbol?.name ?? '', counts.get(text) === 1 ? text : undefined]),
  );
}

function placeText(owner: Owner | undefined): string | undefined {
  return owner === undefined ? undefined : `${owner.function ?? ''} ${owner.place} ${owner.type()}`;
}
