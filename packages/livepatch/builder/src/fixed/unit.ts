import type { ShippedImage } from '../byte-proof/image.ts';
import { proveUnit } from '../byte-proof/prove.ts';
import type { Atom } from '../object/atom.ts';
import { coldParent, stem } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import type { ByteDifference, Unit } from '../types.ts';
import { misnamed } from './names.ts';

/** One replaced function beside that of the fixed kernel. */
export interface FunctionResult {
  readonly name: string;
  readonly equal: boolean;
  /**
   * Equal in the first view, that of what is extracted. In a section of its own a function may be laid out otherwise:
   * gcc 14 aligns loops differently (amdgpu_discovery_set_ip_blocks).
   */
  readonly asExtracted: boolean;
  /** Where it is not equal: what differs first. */
  readonly why: string;
  /**
   * What the livepatch has of it, by name: the function, its `.cold` part, new functions that only the livepatch's code
   * calls.
   */
  readonly parts: readonly string[];
}

export interface UnitResult {
  readonly functions: readonly FunctionResult[];
  /**
   * Where the fixed kernel has what the unit names: names without the compiler's numbers; those of several places are
   * left out.
   */
  readonly places: ReadonlyMap<string, bigint>;
}

/**
 * Compares replaced functions of a patched unit, after objtool, with the fixed kernel: the byte proof's rules, and what
 * fields lead to by name. What a function has of its own in the livepatch counts with it: its `.cold` part, and
 * functions that are new. `views`: the unit in each layout; equal is what either shows to be equal. `stock`: the
 * original, to tell what is new.
 */
export function compareFunctions(
  unit: Unit,
  image: ShippedImage,
  views: readonly ObjectView[],
  stock: ObjectView,
  replaced: readonly string[],
): UnitResult {
  const differences = new Map<string, string>();
  const equal = new Set<string>();
  const places = new Map<string, bigint>();
  const several = new Set<string>();
  let extracted: ReadonlySet<string> | undefined;
  for (const view of views) {
    const proof = proveUnit(unit, view, image);
    for (const [name, { address }] of proof.addresses) {
      const known = places.get(stem(name));
      if (known !== undefined && known !== address) several.add(stem(name));
      places.set(stem(name), address);
    }
    for (const entry of proof.different) differences.set(entry.function, differenceText(entry));
    const proven = new Set(proof.equal);
    for (const atom of view.functions) {
      const name = nameOf(atom);
      if (equal.has(name) || !proven.has(name)) continue;
      const address = proof.addresses.get(name)?.address;
      const problem =
        address === undefined ? 'no function of that name is certain' : misnamed(view, image, atom, address);
      if (problem === undefined) equal.add(name);
      else differences.set(name, problem);
    }
    extracted ??= new Set(equal);
  }
  for (const name of several) places.delete(name);
  const [view] = views;
  const functions = replaced.map((name) => {
    const parts = view === undefined ? [name] : partsOf(view, stock, name);
    const why = parts.map(problemOf).find((problem) => problem !== undefined);
    const asExtracted = parts.every((part) => extracted?.has(part) === true);
    return { name, equal: why === undefined, asExtracted, why: why ?? '', parts };
  });
  return { functions, places };

  function problemOf(part: string): string | undefined {
    return equal.has(part) ? undefined : `${part}: ${differences.get(part) ?? 'there is no function of that name'}`;
  }
}

/** A replaced function as the unit's object has it, and all that is the livepatch's own and that it leads to. */
function partsOf(view: ObjectView, stock: ObjectView, name: string): string[] {
  const exact = view.functions.filter((atom) => nameOf(atom) === name);
  const atoms = exact.length > 0 ? exact : view.functions.filter((atom) => stem(nameOf(atom)) === stem(name));
  if (atoms.length === 0) return [name];
  const found = new Set(atoms);
  for (const atom of found) {
    for (const { target } of view.referencesIn(atom)) {
      const other = target.atom;
      if (other?.kind !== 'function') continue;
      const isCold = coldParent(nameOf(other)) !== undefined;
      if (isCold || stock.byKey(other.key) === undefined) found.add(other);
    }
  }
  return [...found].map(nameOf);
}

function nameOf(atom: Atom): string {
  return atom.symbol?.name ?? '';
}

function differenceText({ reason, offset, built, shipped }: ByteDifference): string {
  if (reason === 'not-in-kernel') return 'the fixed kernel has no function of that name';
  if (reason === 'ambiguous')
    return 'the fixed kernel has several functions of that name that fit, or none for certain';
  const where = `code differs at +0x${(offset ?? 0).toString(16)}`;
  if (built?.target === undefined && shipped?.target === undefined) return where;
  return `${where}: here it leads to ${built?.target ?? 'nothing'}, in the fixed kernel to ${shipped?.target ?? 'nothing'}`;
}
