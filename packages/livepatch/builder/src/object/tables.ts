import {
  type ElfFile,
  type Relocation,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_MERGE,
  sectionOf,
} from '@kmend/elf';
import { runtimeConstant } from './runtime-constant.ts';

/**
 * Sections that hold one entry for each place in code, of all functions of a unit. An entry belongs to the function
 * that its first relocation points into. How long an entry is depends on the kernel: struct bug_entry has 8, 12 or 16
 * bytes by version and configuration.
 */
export interface Table {
  readonly entrySize: number;
  /** A difference in an entry is a difference of the function. */
  readonly meaningful: boolean;
  readonly from: SizeEvidence;
}

/** How an entry size is known, surest first. `format`: the same in every kernel. */
export type SizeEvidence = 'kernel-types' | 'object-types' | 'entry-size' | 'relocations' | 'format';

/** A table whose entries cannot be told apart for certain. */
export interface UnclearTable {
  readonly unclear: string;
}

/** Sizes of structs by name, e.g. from BTF; missing ones are inferred. */
export type StructSizes = ReadonlyMap<string, { readonly size: number; readonly from?: SizeEvidence }>;

/** What a relocation of an entry points at. */
type Role = 'code' | 'patched' | 'replacement' | 'handler' | 'other';

/** The relocations of one entry, in order; `optional`: those that may follow, in some entries or all. */
interface Shape {
  readonly roles: readonly Role[];
  readonly optional?: readonly Role[];
}

interface TableKind {
  /** The kernel's struct of one entry; its first member is the address in code. */
  readonly struct: string;
  readonly shapes: readonly Shape[];
}

const KINDS: Readonly<Record<string, TableKind>> = {
  // include/asm-generic/bug.h: the address, then by version and configuration the format and the file.
  __bug_table: { struct: 'bug_entry', shapes: [{ roles: ['code'], optional: ['other', 'other'] }] },
  // arch/x86/include/asm/extable.h: instruction and fixup; 4.6 to 5.14 name a handler function, ex_handler_*, in a
  // third field.
  __ex_table: {
    struct: 'exception_table_entry',
    shapes: [{ roles: ['code', 'code', 'handler'] }, { roles: ['code', 'code'] }],
  },
  // arch/x86/include/asm/cpufeature.h up to 5.11: the second entry of a static_cpu_has() has `.long 0` for its
  // replacement.
  '.altinstructions': { struct: 'alt_instr', shapes: [{ roles: ['patched'], optional: ['replacement'] }] },
  __jump_table: { struct: 'jump_entry', shapes: [{ roles: ['code', 'code', 'other'] }] },
  '.parainstructions': { struct: 'paravirt_patch_site', shapes: [{ roles: ['code'] }] },
};

export const tableStructs: readonly string[] = Object.values(KINDS).map(({ struct }) => struct);

const PIECES = new Set(['.altinstr_replacement', '.altinstr_aux', '.fixup', '.text..refcount']);

/** Sections whose pieces are found by what refers to them: replacement instructions, and code out of line. */
export function isPieceSection(section: Section): boolean {
  return PIECES.has(section.name);
}

const FORMAT: Readonly<Record<string, Table>> = {
  '.smp_locks': { entrySize: 4, meaningful: true, from: 'format' },
  __mcount_loc: { entrySize: 8, meaningful: false, from: 'format' },
  __patchable_function_entries: { entrySize: 8, meaningful: false, from: 'format' },
};

/**
 * Whether a field is the replacement of an entry of `.altinstructions` that replaces by nothing, as `ALTERNATIVE(old,
 * "", feature)` does. `replacementlen` is the last byte of 12 and of 14, and in front of `padlen` of 13
 * (arch/x86/include/asm/alternative.h).
 */
export function replacesByNothing({ name, data }: Section, entrySize: number | undefined, field: number): boolean {
  if (name !== '.altinstructions' || entrySize === undefined) return false;
  const start = field - (field % entrySize);
  return field === start + 4 && data[start + (entrySize === 14 ? 13 : 11)] === 0;
}

/** How a section is split into entries; `undefined` where it is no table. */
export function tableOf(section: Section, sizes: StructSizes): Table | UnclearTable | undefined {
  if ((section.flags & SHF_ALLOC) === 0 && !section.name.startsWith('.discard.')) return undefined;
  const format = FORMAT[section.name];
  if (format !== undefined) return format;
  if (runtimeConstant(section) !== undefined) return { entrySize: 4, meaningful: true, from: 'format' };
  const kind = KINDS[section.name];
  if (kind !== undefined) return section.size === 0 ? undefined : structTable(section, kind, sizes);
  // objtool's annotations: an address each, with what it says of it.
  if (section.name.startsWith('.discard.')) {
    const count = section.relocations.length;
    if (count > 0 && section.size === count * 8) return { entrySize: 8, meaningful: false, from: 'format' };
    if (count > 0 && section.size === count * 4) return { entrySize: 4, meaningful: false, from: 'format' };
  }
  return undefined;
}

function structTable(section: Section, kind: TableKind, sizes: StructSizes): Table | UnclearTable {
  const { name } = section;
  const inferred = strides(section, kind);
  const known = sizes.get(kind.struct);
  if (known !== undefined) {
    const fits = inferred.some((stride) => stride.size === known.size || (stride.single && stride.size < known.size));
    if (fits) return { entrySize: known.size, meaningful: true, from: known.from ?? 'kernel-types' };
    return {
      unclear: `${name} does not consist of entries of ${known.size} bytes, the size of struct ${kind.struct}: ${describe(inferred)}`,
    };
  }
  const written = (section.flags & SHF_MERGE) !== 0 ? section.entrySize : 0;
  const agreeing = inferred.find(({ size }) => size === written);
  if (agreeing !== undefined) return { entrySize: written, meaningful: true, from: 'entry-size' };
  const [only, ...others] = inferred;
  if (only === undefined || others.length > 0)
    return { unclear: `the entries of ${name} cannot be told apart: ${describe(inferred)}` };
  return { entrySize: only.size, meaningful: true, from: 'relocations' };
}

function describe(found: readonly Stride[]): string {
  if (found.length === 0) return 'its relocations repeat in no known way';
  return `by its relocations they have ${found.map(({ size }) => size).join(' or ')} bytes`;
}

interface Stride {
  readonly size: number;
  /** The table has one entry, perhaps without the padding that would follow it. */
  readonly single: boolean;
}

/**
 * The entry sizes that a table's relocations allow. Each entry begins with an address in code and has the relocations
 * of its struct in their order; entries follow each other at one distance, the last may lack its padding.
 */
function strides(section: Section, kind: TableKind): Stride[] {
  const relocations = [...section.relocations].sort((a, b) => a.offset - b.offset);
  const found = new Map<number, Stride>();
  for (const shape of kind.shapes) {
    const starts = entryStarts(relocations, shape);
    const [first, second] = starts;
    const last = starts.at(-1);
    if (first !== 0 || last === undefined) continue;
    const size = second ?? section.size;
    const uniform = starts.every((start, index) => start === index * size);
    const end = relocations.at(-1)?.offset ?? 0;
    if (!uniform || section.size > last + size || end >= section.size) continue;
    found.set(size, { size, single: starts.length === 1 });
  }
  return [...found.values()];
}

/** Offsets of the entries when every one has this shape; none if they do not fit. */
function entryStarts(relocations: readonly Relocation[], { roles, optional = [] }: Shape): number[] {
  const starts: number[] = [];
  for (let index = 0; index < relocations.length; ) {
    starts.push(relocations[index]?.offset ?? 0);
    if (!roles.every((role, place) => plays(relocations[index + place], role))) return [];
    index += roles.length;
    for (const role of optional) if (plays(relocations[index], role)) index++;
  }
  return starts;
}

function plays(relocation: Relocation | undefined, role: Role): boolean {
  if (relocation === undefined) return false;
  const place = sectionOf(relocation.symbol);
  const isCode = place !== undefined && (place.flags & SHF_EXECINSTR) !== 0;
  const isHandler = relocation.symbol.name.startsWith('ex_handler_');
  // tools/objtool/arch/x86/decode.c of 5.13 to 5.15: an indirect call's replacement is a thunk of the kernel,
  // `__x86_indirect_alt_call_rax`.
  const isReplacement =
    place?.name === '.altinstr_replacement' || relocation.symbol.name.startsWith('__x86_indirect_alt_');
  switch (role) {
    case 'code':
      return isCode && !isHandler;
    case 'patched':
      return isCode && !isReplacement;
    case 'replacement':
      return isReplacement;
    case 'handler':
      return isHandler;
    case 'other':
      return !isCode;
  }
}

/**
 * Entry sizes that two objects of one kernel have in common: where a table has a single entry, without the padding that
 * would follow it, the other object's table tells. `known` ones stay.
 */
export function agreedSizes(original: ElfFile, patched: ElfFile, known: StructSizes): StructSizes {
  const agreed = new Map(known);
  for (const [name, { struct }] of Object.entries(KINDS)) {
    if (agreed.has(struct)) continue;
    const tables = [original, patched].flatMap((file) =>
      file.sections
        .filter((section) => section.name === name && section.size > 0)
        .map((section) => tableOf(section, known)),
    );
    const sizes = tables.flatMap((table) => (table === undefined || 'unclear' in table ? [] : [table.entrySize]));
    const from = tables.flatMap((table) => (table === undefined || 'unclear' in table ? [] : [table.from]))[0];
    // Given to both as known, it is checked against the relocations of each.
    if (sizes.length > 0) agreed.set(struct, { size: Math.max(...sizes), ...(from !== undefined && { from }) });
  }
  return agreed;
}
