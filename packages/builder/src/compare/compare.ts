import { type Section, SHF_WRITE, STB_LOCAL } from '@kmend/elf';
import { coldParent, isOwnCopy, stem } from '../object/names.ts';
import type { Atom, ObjectView } from '../object/view.ts';
import type { Reason, Unit } from '../types.ts';
import { Fingerprints } from './fingerprint.ts';

/** What changed between the original and the patched object of one unit, as atoms of the patched one. */
export interface Change {
  /** Functions to replace; children such as `.cold` follow their parent and are not named here. */
  readonly changed: ReadonlyMap<Atom, Atom>;
  /** Functions and data that only the patched object has. */
  readonly added: ReadonlySet<Atom>;
  /** Patched atom to original atom, for all that both have. */
  readonly same: ReadonlyMap<Atom, Atom>;
  readonly reasons: readonly Reason[];
}

/** Compares function by function and variable by variable; whatever cannot be replaced live becomes a reason. */
export function compareUnit(unit: Unit, original: ObjectView, patched: ObjectView): Change {
  const reasons: Reason[] = [];
  const refuse = (code: string, message: string, symbol?: string): void => {
    reasons.push({
      code,
      verdict: 'refused',
      message,
      source: unit.source,
      ...(symbol === undefined ? {} : { symbol }),
    });
  };
  const before = new Fingerprints(original);
  const after = new Fingerprints(patched);
  const same = new Map<Atom, Atom>();
  const added = new Set<Atom>();
  const changed = new Map<Atom, Atom>();
  for (const atom of patched.atoms) {
    if (atom.symbol === undefined || isNoise(atom)) continue;
    const counterpart = original.byKey(atom.key);
    if (counterpart === undefined || counterpart.kind !== atom.kind) {
      added.add(atom);
      continue;
    }
    same.set(atom, counterpart);
    if (before.of(counterpart) === after.of(atom)) continue;
    if (atom.kind === 'function') changed.set(atom, counterpart);
    else refuseData(atom, refuse);
  }
  for (const [atom, counterpart] of [...changed]) {
    const parent = coldParent(atom.symbol?.name ?? '');
    if (parent === undefined) continue;
    changed.delete(atom);
    const owner = patched.functions.find((candidate) => candidate.symbol?.name === parent);
    const ownerBefore = owner === undefined ? undefined : same.get(owner);
    if (owner !== undefined && ownerBefore !== undefined) changed.set(owner, ownerBefore);
    else if (owner === undefined || !added.has(owner))
      refuse(
        'cold-without-parent',
        `${counterpart.key} changed, and no function that it belongs to is known`,
        counterpart.key,
      );
  }
  for (const [atom, counterpart] of changed) checkReplaceable(original, atom, counterpart, refuse);
  for (const atom of added) checkAddable(atom, refuse);
  checkRemoved(original, same, refuse);
  checkWholeSections(original, patched, before, after, refuse);
  checkStaticLocals(original, patched, changed, refuse);
  return { changed, added, same, reasons };
}

type Refuse = (code: string, message: string, symbol?: string) => void;

function isNoise(atom: Atom): boolean {
  return atom.kind === 'data' && isOwnCopy(atom.symbol?.name ?? '', atom.section.name);
}

function nameOf(atom: Atom): string {
  return atom.symbol?.name ?? atom.key;
}

function refuseData(atom: Atom, refuse: Refuse): void {
  const name = nameOf(atom);
  const section = atom.section.name;
  if (isOneTime(atom.section))
    refuse('init-changed', `${name} in ${section} is used only while the kernel or module starts`, name);
  else if (section.startsWith('.data..percpu')) refuse('percpu-changed', `the per-cpu variable ${name} changed`, name);
  else if ((atom.section.flags & SHF_WRITE) !== 0) {
    refuse(
      'data-changed',
      `the initial value of ${name} changed; the running kernel has its own, which a livepatch does not set`,
      name,
    );
  } else refuse('constant-changed', `the constant ${name} changed; other code of the running kernel may use it`, name);
}

/** Code and data that the kernel has used and dropped, or has already registered. */
function isOneTime(section: Section): boolean {
  return /^(?:\.init|\.exit|\.pci_fixup|__param|__ksymtab|___ksymtab|__kcrctab|\.ref|\.initcall|\.con_initcall|__tracepoints_ptrs|_ftrace_events|\.modinfo)/.test(
    section.name,
  );
}

function checkReplaceable(original: ObjectView, atom: Atom, counterpart: Atom, refuse: Refuse): void {
  const name = nameOf(counterpart);
  const section = counterpart.section.name;
  if (isOneTime(counterpart.section)) {
    refuse('init-changed', `${name} runs only while the kernel or module starts or ends (${section})`, name);
  } else if (!section.startsWith('.text')) {
    refuse('section-unpatchable', `${name} lies in ${section}, where code must not be traced`, name);
  } else if (!isTraced(original, counterpart)) {
    refuse(
      'not-traceable',
      `${name} has no call to the tracer at its beginning (notrace), so that it cannot be replaced`,
      name,
    );
  } else if (stem(nameOf(atom)) !== stem(name)) {
    refuse('name-unsettled', `${name} and ${nameOf(atom)} cannot be told apart`, name);
  }
}

/** The function begins with the call that ftrace, and through it livepatch, replaces (-mfentry); behind ENDBR64 on IBT kernels. */
function isTraced(view: ObjectView, atom: Atom): boolean {
  return view
    .relocationsIn(atom)
    .some(({ offset, symbol }) => symbol.name === '__fentry__' && offset - atom.start <= 5);
}

function checkAddable(atom: Atom, refuse: Refuse): void {
  const name = nameOf(atom);
  const section = atom.section.name;
  if (atom.kind === 'function') {
    // A new function that only starting up would call is never called.
    if (!section.startsWith('.text') && !isOneTime(atom.section))
      refuse('section-unpatchable', `the new function ${name} lies in ${section}`, name);
    return;
  }
  if (section.startsWith('.data..percpu'))
    refuse('percpu-added', `the new per-cpu variable ${name} cannot be made in a running kernel`, name);
  else if (section.startsWith('___ksymtab') || section.startsWith('__ksymtab'))
    refuse('export-added', `the patch exports a new symbol (${name})`, name);
  else if (!/^\.(?:data|bss|rodata)(?:\.|$)/.test(section))
    refuse('section-added', `the new ${name} lies in ${section}, which only starting up would use`, name);
}

function checkRemoved(original: ObjectView, same: ReadonlyMap<Atom, Atom>, refuse: Refuse): void {
  const kept = new Set(same.values());
  for (const atom of original.atoms) {
    if (atom.symbol === undefined || kept.has(atom) || isNoise(atom)) continue;
    // A removed static function or variable is just no longer used by the changed ones.
    if (atom.symbol.bind === STB_LOCAL && !isOneTime(atom.section)) continue;
    refuse('removed', `the patch removes ${nameOf(atom)}, which other parts of the kernel can still use`, nameOf(atom));
  }
}

/** Nameless content of sections that are registered or run once: compared as a whole. */
function checkWholeSections(
  original: ObjectView,
  patched: ObjectView,
  before: Fingerprints,
  after: Fingerprints,
  refuse: Refuse,
): void {
  const prints = (view: ObjectView, by: Fingerprints): Map<string, string> => {
    const texts = new Map<string, string>();
    for (const atom of view.atoms) {
      if (atom.symbol !== undefined || atom.section.name === '.modinfo' || !isOneTime(atom.section)) continue;
      texts.set(atom.section.name, `${texts.get(atom.section.name) ?? ''}${by.of(atom)}`);
    }
    return texts;
  };
  const old = prints(original, before);
  const fresh = prints(patched, after);
  for (const name of new Set([...old.keys(), ...fresh.keys()])) {
    if (old.get(name) !== fresh.get(name))
      refuse('section-changed', `the section ${name} changed; the running kernel has already used its own`);
  }
}

/** Static locals of one name, of which some came or went: which is which cannot be told for certain. */
function checkStaticLocals(
  original: ObjectView,
  patched: ObjectView,
  changed: ReadonlyMap<Atom, Atom>,
  refuse: Refuse,
): void {
  for (const atom of changed.keys()) {
    const told = new Set<string>();
    for (const relocation of patched.relocationsIn(atom)) {
      const target = patched.targetOf(atom.section, relocation).atom;
      if (target?.kind !== 'data' || target.symbol === undefined || isNoise(target)) continue;
      const base = stem(target.symbol.name);
      const counts = [original.stemCounts.get(base) ?? 0, patched.stemCounts.get(base) ?? 0];
      if (counts[0] !== 0 && counts[0] !== counts[1] && !told.has(base)) {
        told.add(base);
        refuse(
          'static-local-ambiguous',
          `${nameOf(atom)} uses ${base}, of which there were ${counts[0]} and now are ${counts[1]}`,
          base,
        );
      }
    }
  }
}
