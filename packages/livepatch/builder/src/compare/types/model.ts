import { DW_TAG_structure_type, DW_TAG_union_type } from '../../dwarf/constants.ts';
import type { Dwarf, Entry } from '../../dwarf/index.ts';

/** Where a type's entry is; `undefined` for `void`. */
export type TypeOffset = number | undefined;

/** What values a type can hold, as far as code that was compiled for another type could still make sense of them. */
export type Kind = 'integer' | 'pointer' | 'void-pointer' | 'other';

/** One member that is not itself an anonymous struct or union: those are replaced by what is in them. */
export interface Member {
  /** `name`, or `outer.name` and `outer[].name` inside an anonymous type. */
  readonly path: string;
  /** Where it begins, in bits from the beginning of the whole. */
  readonly bit: number;
  readonly bits: number;
  /** Its type without typedefs and qualifiers. */
  readonly type: string;
  /** The named type that it is, or is an array of: laid out inside the whole. */
  readonly embeds: string | undefined;
  readonly typeOffset: TypeOffset;
}

export interface Layout {
  /** Bytes. */
  readonly size: number;
  readonly members: readonly Member[];
}

/** A type behind its typedefs and qualifiers; no entry is `void`. */
export interface Resolved {
  readonly entry: Entry | undefined;
  /**
   * What C calls it, where it has a name: `struct sock`, `enum rw_hint`, or the typedef of a struct without a tag
   * (`pgprot_t`).
   */
  readonly name: string | undefined;
}

export function isAggregate(entry: Entry | undefined): entry is Entry {
  const tag = entry?.abbreviation.tag;
  return tag === DW_TAG_structure_type || tag === DW_TAG_union_type;
}

/** What an array is made of, through any number of dimensions. */
export interface Element {
  readonly resolved: Resolved;
  /** `[4][]`; empty for what is no array. */
  readonly bounds: string;
}

/** What reading members asks of the reader of types. */
export interface Types {
  readonly dwarf: Dwarf;
  size(type: TypeOffset): number;
  signature(type: TypeOffset): string;
  element(type: TypeOffset): Element;
  layout(entry: Entry): Layout;
}
