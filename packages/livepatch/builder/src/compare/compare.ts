import type { Atom } from '../object/atom.ts';
import { coldParent } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import type { Reason, Unit } from '../types.ts';
import { canComeAlong, carriedAlong, copyable } from './carry.ts';
import { type Correlation, correlate, isNoise } from './correlate.ts';
import { Fingerprints } from './fingerprint.ts';
import {
  checkAddable,
  checkChangedData,
  checkRemoved,
  checkReplaceable,
  checkRuntimeConstants,
  initChanged,
  isInit,
  isReferred,
  keepsOld,
  nameOf,
  Reasons,
} from './rules.ts';

/** What changed between the original and the patched object of one unit, as atoms of the patched one. */
export interface Change {
  /** Functions to replace; children such as `.cold` follow their parent and are not named here. */
  readonly changed: ReadonlyMap<Atom, Atom>;
  /** What the livepatch has of its own: functions and data that only the patched object has, and changed constants. */
  readonly added: ReadonlySet<Atom>;
  /** Patched atom to original atom, for all that the livepatch takes from the running kernel. */
  readonly same: ReadonlyMap<Atom, Atom>;
  readonly reasons: readonly Reason[];
}

/** A change with what it was made from, for those who show it. */
export interface UnitChange extends Change {
  readonly evidence: Evidence;
}

export interface Evidence {
  readonly correlation: Correlation;
  /** Every pair that differs, patched to original: also data, code that runs once, and split-off parts of functions. */
  readonly differing: ReadonlyMap<Atom, Atom>;
  readonly original: Fingerprints;
  readonly patched: Fingerprints;
}

/**
 * Whether what two of a name differ in is of no account, as a line number is. A livepatch is made of all differences.
 */
export type Disregards = (
  prints: readonly [original: Fingerprints, patched: Fingerprints],
  atoms: readonly [original: Atom, patched: Atom],
) => boolean;

/** Compares function by function and variable by variable; whatever cannot be replaced live becomes a reason. */
export function compareUnit(
  unit: Unit,
  original: ObjectView,
  patched: ObjectView,
  disregards: Disregards = () => false,
): UnitChange {
  const reasons = new Reasons(unit);
  // A difference in what is not understood would not be seen.
  for (const message of new Set([...original.unclear, ...patched.unclear])) reasons.refuse('table-unclear', message);
  const correlation = correlate(original, patched);
  const same = new Map(correlation.same);
  const before = new Fingerprints(original, (atom) => atom.key);
  const after = new Fingerprints(patched, (atom) => correlation.same.get(atom)?.key ?? `new ${atom.key}`);
  const added = new Set<Atom>();
  const changed = new Map<Atom, Atom>();
  const data = new Map<Atom, Atom>();
  const differing = new Map<Atom, Atom>();
  for (const atom of patched.atoms) {
    if (atom.symbol === undefined || isNoise(atom)) continue;
    const counterpart = correlation.same.get(atom);
    if (counterpart === undefined) added.add(atom);
    else if (before.of(counterpart) !== after.of(atom) && !disregards([before, after], [counterpart, atom])) {
      differing.set(atom, counterpart);
      if (atom.kind !== 'function') data.set(atom, counterpart);
      else if (isInit(counterpart.section)) initChanged(atom, reasons);
      else changed.set(atom, counterpart);
    }
  }
  // Children first: a changed `.cold` part stands for its function.
  moveToParents(patched, correlation, changed, added, reasons);
  for (;;) {
    const carried = carriedAlong(original, patched, new Map([...data, ...changed]));
    if (carried.size === 0) break;
    for (const [part, users] of carried) {
      data.delete(part);
      changed.delete(part);
      same.delete(part);
      added.add(part);
      for (const user of users) {
        const counterpart = correlation.same.get(user);
        if (counterpart === undefined || added.has(user) || isInit(user.section)) continue;
        if (canComeAlong(original, counterpart)) changed.set(user, counterpart);
        else keepsOld(part, user, reasons);
      }
    }
    moveToParents(patched, correlation, changed, added, reasons);
  }
  for (const atom of data.keys()) checkChangedData(atom, reasons);
  for (const counterpart of changed.values()) checkReplaceable(original, counterpart, reasons);
  for (const atom of added) if (!correlation.ambiguous.has(atom)) checkAddable(atom, reasons);
  for (const atom of [...changed.keys(), ...added]) {
    checkInitUse(patched, atom, added, reasons);
    checkRuntimeConstants(patched, atom, reasons);
  }
  checkRemoved(original, new Set([...correlation.same.values(), ...correlation.ambiguous.keys()]), isNoise, reasons);
  checkWholeSections(original, patched, before, after, reasons);
  checkAmbiguous(patched, correlation, [...changed.keys(), ...added], reasons);
  const evidence = { correlation, differing, original: before, patched: after };
  return { changed, added, same, reasons: reasons.all, evidence };
}

/** A changed `.cold` part means that its function changed. */
function moveToParents(
  patched: ObjectView,
  { same }: Correlation,
  changed: Map<Atom, Atom>,
  added: ReadonlySet<Atom>,
  reasons: Reasons,
): void {
  for (const [atom, counterpart] of [...changed]) {
    const parent = coldParent(nameOf(atom));
    if (parent === undefined) continue;
    changed.delete(atom);
    const owner = parentOf(patched, atom, parent);
    const ownerBefore = owner === undefined ? undefined : same.get(owner);
    if (owner !== undefined && isInit(owner.section)) initChanged(owner, reasons);
    else if (owner !== undefined && ownerBefore !== undefined) changed.set(owner, ownerBefore);
    else if (owner === undefined || !added.has(owner)) {
      const name = nameOf(counterpart);
      reasons.refuse('cold-without-parent', `${name} changed, and no function that it belongs to is known`, name);
    }
  }
}

/** Several files of a module may have a function of that name; the part's own leads to it. */
function parentOf(view: ObjectView, part: Atom, name: string): Atom | undefined {
  const candidates = view.functions.filter(({ symbol }) => symbol?.name === name);
  if (candidates.length <= 1) return candidates[0];
  return candidates.find((candidate) => view.referencesIn(candidate).some(({ target }) => target.atom === part));
}

/** What stays may not use what a livepatch would only have while it loads: its own init sections are dropped then. */
function checkInitUse(patched: ObjectView, atom: Atom, added: ReadonlySet<Atom>, reasons: Reasons): void {
  if (isInit(atom.section)) return;
  for (const relocation of patched.relocationsIn(atom)) {
    const target = patched.targetOf(atom.section, relocation).atom;
    if (target === undefined || !added.has(target) || !isInit(target.section)) continue;
    const name = nameOf(target);
    reasons.refuse(
      'init-referenced',
      `${nameOf(atom)} uses the new ${name} of ${target.section.name}, which does not stay`,
      name,
    );
  }
}

/** Nameless content that no code refers to, such as registered tables and what runs once: compared as a whole. */
function checkWholeSections(
  original: ObjectView,
  patched: ObjectView,
  before: Fingerprints,
  after: Fingerprints,
  reasons: Reasons,
): void {
  const prints = (view: ObjectView, by: Fingerprints): Map<string, string> => {
    const texts = new Map<string, string>();
    for (const atom of view.atoms) {
      if (atom.symbol !== undefined || isReferred(atom.section)) continue;
      texts.set(atom.section.name, `${texts.get(atom.section.name) ?? ''}${by.of(atom)}`);
    }
    return texts;
  };
  const old = prints(original, before);
  const fresh = prints(patched, after);
  for (const name of new Set([...old.keys(), ...fresh.keys()])) {
    if (old.get(name) === fresh.get(name)) continue;
    if (isInit({ name })) reasons.review('init-changed', `${name} changed, which only starting or ending uses`);
    else reasons.refuse('section-changed', `the section ${name} changed; the running kernel has already used its own`);
  }
}

/** What cannot be told from others of its name, where the livepatch uses it: which state it would be is not known. */
function checkAmbiguous(
  patched: ObjectView,
  { ambiguous }: Correlation,
  users: readonly Atom[],
  reasons: Reasons,
): void {
  if (ambiguous.size === 0) return;
  const copies = copyable(patched, ambiguous.keys());
  for (const atom of users) {
    const told = new Set<Atom>();
    for (const { target } of patched.referencesIn(atom)) {
      // Which of the kernel's a table is does not matter where the livepatch can have its own.
      if (target.atom === undefined || copies.has(target.atom)) continue;
      const why = ambiguous.get(target.atom);
      if (why === undefined || told.has(target.atom)) continue;
      told.add(target.atom);
      const name = nameOf(target.atom);
      reasons.refuse(
        target.atom.kind === 'function' ? 'function-ambiguous' : 'static-local-ambiguous',
        `${nameOf(atom)} uses ${name}: ${why}`,
        name,
      );
    }
  }
}
