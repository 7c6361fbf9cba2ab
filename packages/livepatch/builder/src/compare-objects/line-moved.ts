import type { Atom } from '../object/atom.ts';
import { decodeInstruction } from '../object/instructions.ts';
import type { Entry, Reference } from '../object/view.ts';
import { ARGUMENTS, argumentOf } from './argument.ts';
import { masked, type Side } from './side.ts';

/** A line number of the source, before and after. */
export interface MovedLine {
  readonly original: number;
  readonly patched: number;
}

type Pair<T> = readonly [original: T, patched: T];

/**
 * The first line number in which two functions, or records of allocations, differ, when they differ in nothing else: a
 * fix above them moved them down in the file. Lines are known by their place: in a bug table's entry, in what UBSAN and
 * allocation profiling keep, and as the argument of a function that takes a line there. Another number, or one whose
 * way to the call is not plain, is no line.
 */
export function lineMoved(sides: Pair<Side>, atoms: Pair<Atom>): MovedLine | undefined {
  const [original, patched] = atoms;
  if (original.section.name !== patched.section.name || original.end - original.start !== patched.end - patched.start)
    return undefined;
  if (original.kind === 'data')
    return original.section.name === 'alloc_tags' ? withinRecord(sides, atoms, ALLOCATION) : undefined;
  if (typeHash(original) !== typeHash(patched)) return undefined;
  const code = codeLines(sides, atoms);
  const entries = code === undefined ? undefined : entryLines(sides, atoms);
  return code === undefined || entries === undefined ? undefined : [...code, ...entries][0];
}

function typeHash({ section, prefix, start }: Atom): string {
  return prefix === undefined ? '' : Buffer.from(section.data.subarray(prefix, start)).toString('hex');
}

/** Where a record has its line: offset, and bytes; `noise`: bytes that say where in the line. */
interface LinePlace {
  readonly offset: number;
  readonly width: 2 | 4;
  readonly noise: number;
}

/** lib/ubsan.h: every record begins with a struct source_location: file name, line, column. */
const UBSAN: LinePlace = { offset: 8, width: 4, noise: 4 };
/** include/linux/alloc_tag.h, a struct codetag (include/linux/codetag.h): flags, line. */
const ALLOCATION: LinePlace = { offset: 4, width: 4, noise: 0 };
/**
 * include/asm-generic/bug.h: struct bug_entry ends in two 16-bit members, the line and the flags; with fewer than 12
 * bytes it has no line.
 */
const bug = (size: number): LinePlace => ({ offset: size - 4, width: 2, noise: 0 });
const SMALLEST_BUG = 12;

interface Stretch {
  readonly section: Atom['section'];
  readonly start: number;
  readonly end: number;
}

/** The line of a record of which both have one, when it is all that differs. */
function withinRecord(
  sides: Pair<Side>,
  records: Pair<Stretch>,
  { offset, width, noise }: LinePlace,
): MovedLine | undefined {
  const [original, patched] = records.map((record, index) => {
    const side = sides[index];
    if (side === undefined || record.end - record.start < offset + width + noise) return undefined;
    const { bytes, references } = masked(side, record);
    const line = Buffer.from(bytes).readUIntLE(offset, width);
    bytes.fill(0, offset, offset + width + noise);
    // Zeros behind the last record of a section may be filling.
    return {
      line,
      rest: `${Buffer.from(bytes)
        .toString('hex')
        .replace(/(?:00)*$/, '')}${[...references].join()}`,
    };
  });
  if (original === undefined || patched === undefined || original.rest !== patched.rest) return undefined;
  return { original: original.line, patched: patched.line };
}

/** Lines in which the code of two functions differs; `undefined` if it differs in anything else. */
function codeLines(sides: Pair<Side>, atoms: Pair<Atom>): MovedLine[] | undefined {
  const [original, patched] = atoms;
  const [old, now] = [masked(sides[0], original), masked(sides[1], patched)];
  const size = original.end - original.start;
  const found: MovedLine[] = [];
  for (let at = 0; at < size; ) {
    const length = decodeInstruction(original.section.data, original.start + at)?.length ?? 1;
    const end = Math.min(size, at + length);
    const fields = fieldsIn(old.references, now.references, at, end);
    const bytes = Buffer.compare(old.bytes.subarray(at, end), now.bytes.subarray(at, end)) !== 0;
    const moved = bytes
      ? fields.length === 0 && immediateLine(sides, atoms, at, end)
      : fields.every((field) => old.references.get(field) === now.references.get(field)) ||
        locationLine(sides, atoms, at, fields);
    if (moved === false || moved === undefined) return undefined;
    if (moved !== true) found.push(moved);
    at = end;
  }
  return found;
}

function fieldsIn(
  old: ReadonlyMap<number, string>,
  now: ReadonlyMap<number, string>,
  start: number,
  end: number,
): number[] {
  const fields: number[] = [];
  for (let at = start; at < end; at++) if (old.has(at) || now.has(at)) fields.push(at);
  return fields;
}

/**
 * Functions of the kernel that take a line, by which argument it is, counted from 0. What it says there, it has said
 * for as long as they exist.
 */
const TAKE_LINE: ReadonlyMap<string, number> = new Map(
  Object.entries({
    1: [
      // include/linux/kernel.h, lockdep.h, asm-generic/bug.h
      ...['__might_sleep', '___might_sleep', '__might_resched', '__might_fault', '__cant_sleep', '__cant_migrate'],
      ...['lockdep_rcu_suspicious', 'warn_slowpath_fmt', 'warn_slowpath_fmt_taint', 'warn_slowpath_null', '__warn'],
      // include/acpi/acpixf.h
      ...['acpi_error', 'acpi_warning', 'acpi_exception'],
      ...['acpi_bios_error', 'acpi_bios_warning', 'acpi_bios_exception'],
      // fs/ext4/ext4_jbd2.h
      ...['__ext4_journal_get_write_access', '__ext4_journal_get_create_access', '__ext4_journal_stop'],
      ...['__ext4_journal_start_sb', '__ext4_journal_start_reserved', '__ext4_forget', '__ext4_handle_dirty_metadata'],
      // fs/ext4: mballoc.c, extents.c, dir.c
      ...['__ext4_grp_locked_error', '__ext4_ext_dirty', '__ext4_ext_check', '__read_extent_tree_block'],
      '__ext4_check_dir_entry',
    ],
    2: [
      // fs/ext4/ext4.h, fs/btrfs/messages.h and transaction.h, include/sound/core.h
      ...['__ext4_error', '__ext4_error_inode', '__ext4_error_file', '__ext4_std_error', '__ext4_abort'],
      ...['__ext4_warning', '__ext4_warning_inode'],
      ...['__btrfs_handle_fs_error', '__btrfs_abort_transaction', '__btrfs_panic', '__snd_printk'],
    ],
    // fs/ext4/ext4_jbd2.h, fs/xfs/xfs_message.h, fs/gfs2/util.h
    3: ['__ext4_mark_inode_dirty', 'asswarn', 'assfail', 'gfs2_consist_i', 'gfs2_consist_inode_i', 'gfs2_io_error_i'],
    // fs/ext4/ext4.h, fs/xfs/xfs_error.h, fs/gfs2/util.h
    4: ['__ext4_iget', '__ext4_read_dirblock', 'xfs_error_report', 'gfs2_assert_warn_i', 'gfs2_assert_withdraw_i'],
    5: ['gfs2_meta_check_ii'],
  }).flatMap(([place, names]) => names.map((name) => [name, Number(place)] as const)),
);

/** `mov $line,%reg` of an argument that is a line, in both. */
function immediateLine([before, after]: Pair<Side>, atoms: Pair<Atom>, at: number, end: number): MovedLine | undefined {
  const [original, patched] = atoms;
  const lines = atoms.map(({ section, start }) => immediate(section.data, start + at, start + end));
  const uses = [
    argumentOf(before.view, original, original.start + at),
    argumentOf(after.view, patched, patched.start + at),
  ];
  const [use, other] = uses;
  const place = use === undefined ? undefined : TAKE_LINE.get(use.callee);
  if (use === undefined || place === undefined || ARGUMENTS[place] !== use.register) return undefined;
  if (other?.callee !== use.callee || other.register !== use.register) return undefined;
  const [line, now] = lines;
  return line === undefined || now === undefined ? undefined : { original: line, patched: now };
}

/** The number that `mov $imm32,%r32` (`b8+r`) sets. */
function immediate(code: Uint8Array, start: number, end: number): number | undefined {
  const isMove = ((code[end - 5] ?? 0) & 0xf8) === 0xb8 && end - start >= 5 && end - start <= 6;
  return isMove ? new DataView(code.buffer, code.byteOffset).getUint32(end - 4, true) : undefined;
}

/**
 * The record of where a check of UBSAN is, handed to the function that reports: they differ in their lines and columns.
 */
function locationLine(
  sides: Pair<Side>,
  atoms: Pair<Atom>,
  at: number,
  fields: readonly number[],
): MovedLine | undefined {
  const [field] = fields;
  if (field === undefined || fields.length > 1) return undefined;
  const records: Stretch[] = [];
  for (const [index, atom] of atoms.entries()) {
    const view = sides[index]?.view;
    const use = view && argumentOf(view, atom, atom.start + at);
    if (view === undefined || use?.register !== ARGUMENTS[0] || !use?.callee.startsWith('__ubsan_handle_'))
      return undefined;
    const record = recordAt(view.referencesIn(atom).find(({ offset }) => offset === atom.start + field));
    if (record === undefined) return undefined;
    records.push(record);
  }
  const [original, patched] = records;
  return original && patched && withinRecord(sides, [original, patched], UBSAN);
}

function recordAt(reference: Reference | undefined): Stretch | undefined {
  const atom = reference?.target.atom;
  if (reference === undefined || atom?.kind !== 'anonymous') return undefined;
  return { section: atom.section, start: atom.start + reference.target.offset, end: atom.end };
}

/** Lines in which the entries of two functions differ; `undefined` if they differ in anything else. */
function entryLines(sides: Pair<Side>, [original, patched]: Pair<Atom>): MovedLine[] | undefined {
  const [old, now] = [sides[0].view.entriesOf(original), sides[1].view.entriesOf(patched)].map((entries) =>
    entries.filter(({ meaningful }) => meaningful),
  );
  if (old === undefined || now === undefined || old.length !== now.length) return undefined;
  const found: MovedLine[] = [];
  for (const [index, entry] of old.entries()) {
    const other = now[index];
    if (other === undefined || other.section.name !== entry.section.name) return undefined;
    const line = bugLine(sides, [entry, other]);
    if (line === undefined && !isSame(sides, [entry, other])) return undefined;
    if (line !== undefined && line.original !== line.patched) found.push(line);
  }
  return found;
}

/** The lines of two entries of the bug table that differ in nothing else, if at all. */
export function bugLine(sides: Pair<Side>, [entry, other]: Pair<Entry>): MovedLine | undefined {
  const size = entry.end - entry.start;
  if (entry.section.name !== '__bug_table' || size < SMALLEST_BUG || other.end - other.start !== size) return undefined;
  return withinRecord(sides, [entry, other], bug(size));
}

function isSame(sides: Pair<Side>, entries: Pair<Entry>): boolean {
  const [old, now] = [masked(sides[0], entries[0]), masked(sides[1], entries[1])];
  return Buffer.compare(old.bytes, now.bytes) === 0 && [...old.references].join() === [...now.references].join();
}
