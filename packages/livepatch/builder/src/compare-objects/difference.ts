import type { Atom } from '../object/atom.ts';
import { describeTarget } from '../object/describe.ts';
import type { Shown } from '../object/disassemble.ts';
import { branchTarget, branchText, decodeInstruction } from '../object/instructions.ts';
import { coldParent } from '../object/names.ts';
import type { Entry, ObjectView, Part, Reference } from '../object/view.ts';
import { bugLine } from './line-moved.ts';
import type { Difference } from './model.ts';
import { type Masked, masked, type Side } from './side.ts';

/** A difference in code, still without the text of the instructions. */
export interface CodeDifference {
  readonly kind: 'code';
  readonly offset: number;
  readonly original?: Shown;
  readonly patched?: Shown;
  readonly part?: string;
}

export type FoundDifference = CodeDifference | Exclude<Difference, { kind: 'instruction' }>;

/** The first difference of two functions: of their own code, then of their table entries. */
export function functionDifference(before: Side, after: Side, original: Atom, patched: Atom): FoundDifference {
  const offset = firstDifference(before, after, original, patched);
  if (offset !== undefined) {
    const place = telling(before, after, original, patched) ?? { original: offset, patched: offset };
    const old = instructionAt(before.view, original, place.original);
    const now = instructionAt(after.view, patched, place.patched);
    return {
      kind: 'code',
      offset: old?.offset ?? now?.offset ?? offset,
      ...(old && { original: old.shown }),
      ...(now && { patched: now.shown }),
      ...(coldParent(original.symbol?.name ?? '') !== undefined && { part: original.symbol?.name ?? '' }),
    };
  }
  const entry = entryDifference(before, after, original, patched);
  if (entry !== undefined) return entry;
  if (original.section.name !== patched.section.name)
    return { kind: 'section', original: original.section.name, patched: patched.section.name };
  return { kind: 'prototype-hash' };
}

/** The first difference of two variables or constants. */
export function dataDifference(before: Side, after: Side, original: Atom, patched: Atom): FoundDifference {
  const [size, now] = [original.end - original.start, patched.end - patched.start];
  if (size !== now) return { kind: 'size', original: size, patched: now };
  const offset = firstDifference(before, after, original, patched);
  if (offset === undefined) return { kind: 'section', original: original.section.name, patched: patched.section.name };
  return {
    kind: 'content',
    offset,
    original: contentAt(before.view, original, offset),
    patched: contentAt(after.view, patched, offset),
  };
}

/** Names and texts that a part and its entries refer to. */
export function referredNames(view: ObjectView, atom: Atom): Set<string> {
  const parts: Part[] = [atom, ...view.entriesOf(atom).filter(({ meaningful }) => meaningful)];
  const names = parts.flatMap((part) =>
    view.referencesIn(part).flatMap(({ target }) => (target.atom === atom ? [] : [describeTarget(target, false)])),
  );
  return new Set(names);
}

/** Offset of the first byte, or field that refers to something, in which two parts differ. */
function firstDifference(before: Side, after: Side, original: Part, patched: Part): number | undefined {
  const [old, now] = [masked(before, original), masked(after, patched)];
  const length = Math.min(old.bytes.length, now.bytes.length);
  let first = 0;
  while (first < length && old.bytes[first] === now.bytes[first]) first++;
  let found = first < length || old.bytes.length !== now.bytes.length ? first : undefined;
  for (const at of new Set([...old.references.keys(), ...now.references.keys()])) {
    if (at < (found ?? Number.POSITIVE_INFINITY) && old.references.get(at) !== now.references.get(at)) found = at;
  }
  return found;
}

/**
 * Where the code first differs in more than how far its own branches go, which follows from a difference further on;
 * `undefined` if nowhere.
 */
function telling(
  before: Side,
  after: Side,
  original: Atom,
  patched: Atom,
): { readonly original: number; readonly patched: number } | undefined {
  const [old, now] = [masked(before, original), masked(after, patched)];
  let [at, other] = [0, 0];
  while (at < old.bytes.length && other < now.bytes.length) {
    const length = decodeInstruction(original.section.data, original.start + at)?.length ?? 1;
    const otherLength = decodeInstruction(patched.section.data, patched.start + other)?.length ?? 1;
    const branch = ownBranch(original, old, at, length);
    const isSame =
      branch === undefined
        ? length === otherLength && sameStretch(old, now, at, other, length)
        : branch === ownBranch(patched, now, other, otherLength);
    if (!isSame) return { original: at, patched: other };
    at += length;
    other += otherLength;
  }
  return at === old.bytes.length && other === now.bytes.length ? undefined : { original: at, patched: other };
}

function sameStretch(old: Masked, now: Masked, at: number, other: number, length: number): boolean {
  for (let index = 0; index < length; index++) {
    if (old.bytes[at + index] !== now.bytes[other + index]) return false;
    if (old.references.get(at + index) !== now.references.get(other + index)) return false;
  }
  return true;
}

/** The condition of a branch inside the function, whether near or short; `undefined` for all else. */
function ownBranch({ section, start, end }: Atom, code: Masked, at: number, length: number): string | undefined {
  const target = branchTarget(section.data, start + at);
  if (target === undefined || target < start || target >= end) return undefined;
  for (let index = at; index < at + length; index++) if (code.references.has(index)) return undefined;
  const opcode = section.data[start + at] ?? 0;
  const second = section.data[start + at + 1] ?? 0;
  if ((opcode & 0xf0) === 0x70) return `if ${opcode & 0xf}`;
  if (opcode === 0x0f && (second & 0xf0) === 0x80) return `if ${second & 0xf}`;
  return opcode === 0xeb || opcode === 0xe9 ? 'always' : undefined;
}

const LONGEST = 15;

function instructionAt(
  view: ObjectView,
  atom: Atom,
  offset: number,
): { readonly offset: number; readonly shown: Shown } | undefined {
  const { section } = atom;
  if (atom.start + offset >= atom.end) return undefined;
  const start = Math.max(atom.start, view.instructionStart(section, atom.start + offset));
  const bytes = section.data.subarray(start, Math.min(atom.end, start + LONGEST));
  const instruction = decodeInstruction(section.data, start);
  const end = start + (instruction?.length ?? 1);
  const reference = referenceIn(view, atom, start, end);
  const target =
    reference === undefined ? branchText(section.data, start, atom.start) : describeTarget(reference.target);
  return { offset: start - atom.start, shown: { bytes, ...(target !== undefined && { target }) } };
}

function referenceIn(view: ObjectView, atom: Atom, start: number, end: number): Reference | undefined {
  return view.referencesIn(atom).find(({ offset }) => offset >= start && offset < end);
}

function contentAt(view: ObjectView, part: Part, offset: number): string {
  const place = part.start + offset;
  const reference = view.referencesIn(part).find((candidate) => candidate.offset === place);
  if (reference !== undefined) return describeTarget(reference.target);
  return Buffer.from(part.section.data.subarray(place, Math.min(part.end, place + 8))).toString('hex');
}

function entryDifference(before: Side, after: Side, original: Atom, patched: Atom): FoundDifference | undefined {
  const [old, now] = [byTable(before.view, original), byTable(after.view, patched)];
  for (const table of new Set([...old.keys(), ...now.keys()])) {
    const [entries, others] = [old.get(table) ?? [], now.get(table) ?? []];
    if (entries.length !== others.length)
      return { kind: 'entries', table, original: entries.length, patched: others.length };
    for (const [index, entry] of entries.entries()) {
      const other = others[index];
      const offset = other === undefined ? undefined : firstDifference(before, after, entry, other);
      // A line moves with whatever is above it: it says nothing of why the function differs.
      if (other === undefined || offset === undefined || bugLine([before, after], [entry, other])) continue;
      const content = [contentAt(before.view, entry, offset), contentAt(after.view, other, offset)] as const;
      return { kind: 'entry', table, index, offset, original: content[0], patched: content[1] };
    }
  }
  return undefined;
}

function byTable(view: ObjectView, atom: Atom): Map<string, Entry[]> {
  const tables = new Map<string, Entry[]>();
  for (const entry of view.entriesOf(atom)) {
    if (!entry.meaningful) continue;
    tables.set(entry.section.name, [...(tables.get(entry.section.name) ?? []), entry]);
  }
  return tables;
}
