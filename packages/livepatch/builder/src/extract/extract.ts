import { R_X86_64_PLT32, type Section, SHF_EXECINSTR, STB_LOCAL } from '@kmend/elf';
import type { Change } from '../compare/compare.ts';
import type { Atom } from '../object/atom.ts';
import { isBranch } from '../object/branch.ts';
import { coldParent } from '../object/names.ts';
import { isOwnCopy } from '../object/own-copy.ts';
import type { Entry, ObjectView, Reference, Target } from '../object/view.ts';

/** Which atoms go into the livepatch, and which of the running kernel's things they use. */
export interface Selection {
  readonly atoms: ReadonlySet<Atom>;
  readonly entries: readonly Entry[];
}

/** Where a relocation of a kept part leads: into the livepatch, or to the running kernel. */
export type Destination =
  | { readonly kind: 'own'; readonly target: Target & { readonly atom: Atom } }
  | { readonly kind: 'kernel'; readonly target: Target };

/**
 * The changed functions and all that they alone need: new functions and data, strings, nameless constants, their own
 * copies of noise, their table entries. The same for `more`, data that the livepatch is to have. Everything else stays
 * where it is and is referred to.
 */
export function select(view: ObjectView, change: Change, more: Iterable<Atom> = []): Selection {
  const atoms = new Set<Atom>();
  const entries: Entry[] = [];
  const work = [...change.changed.keys(), ...newGlobals(change), ...more];
  for (let atom = work.pop(); atom !== undefined; atom = work.pop()) {
    if (atoms.has(atom)) continue;
    atoms.add(atom);
    const parts: (Atom | Entry)[] = [atom, ...view.entriesOf(atom)];
    entries.push(...view.entriesOf(atom));
    for (const part of parts) {
      for (const reference of view.referencesIn(part)) {
        const destination = destinationOf(change, part, reference);
        if (destination.kind === 'own') work.push(destination.target.atom);
      }
    }
  }
  return { atoms, entries };
}

/** New functions and variables that other units can name. */
export function newGlobals(change: Change): Atom[] {
  return [...change.added].filter(
    ({ symbol, section }) =>
      symbol !== undefined && symbol.bind !== STB_LOCAL && /^\.(?:text|data|bss|rodata)(?:\.|$)/.test(section.name),
  );
}

/**
 * Jumps of selected functions to others of their section that are too short for the linker to lead anywhere else. The
 * assembler writes them where functions share a section (`.sched.text`).
 */
export function shortBranches(view: ObjectView, selection: Selection): { readonly from: Atom; readonly to: Atom }[] {
  return [...selection.atoms].flatMap((from) =>
    view
      .referencesIn(from)
      .flatMap(({ width, target }) => (width === 1 && target.atom !== undefined ? [{ from, to: target.atom }] : [])),
  );
}

export function destinationOf(change: Change, from: Atom | Entry, reference: Reference): Destination {
  const { target } = reference;
  const { atom } = target;
  if (atom !== undefined && isOwn(change, from, { ...target, atom }, reference))
    return { kind: 'own', target: { ...target, atom } };
  return { kind: 'kernel', target };
}

function isOwn(
  change: Change,
  from: Atom | Entry,
  { atom, offset }: Target & { atom: Atom },
  reference: Reference,
): boolean {
  if (atom.symbol === undefined || change.added.has(atom)) return true;
  const { name } = atom.symbol;
  if (atom.kind === 'data') return isOwnCopy(atom);
  if (isEntry(from) || coldParent(name) !== undefined) return true;
  // A call goes straight to the new code, and so do jumps and labels inside it: its own, of its pieces out of line and
  // of its jump tables. An address that is kept somewhere must stay right after a revert: the kernel's own.
  const calls = (from.section.flags & SHF_EXECINSTR) !== 0 && isCall(from.section, reference);
  return (calls || offset !== 0) && change.changed.has(atom);
}

/** gas marks branches to global symbols by the type; those to local ones show by the instruction. */
function isCall(section: Section, reference: Reference): boolean {
  return reference.type === R_X86_64_PLT32 || isBranch(section, reference);
}

function isEntry(part: Atom | Entry): part is Entry {
  return !('kind' in part);
}
