import {
  DW_AT_byte_size,
  DW_AT_count,
  DW_AT_encoding,
  DW_AT_name,
  DW_AT_type,
  DW_AT_upper_bound,
  DW_ATE_boolean,
  DW_ATE_signed,
  DW_ATE_signed_char,
  DW_ATE_unsigned,
  DW_ATE_unsigned_char,
  DW_TAG_array_type,
  DW_TAG_atomic_type,
  DW_TAG_base_type,
  DW_TAG_const_type,
  DW_TAG_enumeration_type,
  DW_TAG_formal_parameter,
  DW_TAG_pointer_type,
  DW_TAG_restrict_type,
  DW_TAG_structure_type,
  DW_TAG_subrange_type,
  DW_TAG_subroutine_type,
  DW_TAG_typedef,
  DW_TAG_union_type,
  DW_TAG_unspecified_parameters,
  DW_TAG_volatile_type,
} from '../../dwarf/constants.ts';
import { damaged } from '../../dwarf/cursor.ts';
import type { Dwarf, Entry } from '../../dwarf/index.ts';
import { readMembers } from './members.ts';
import type { Element, Kind, Layout, Resolved, TypeOffset, Types } from './model.ts';

/** Deeper nesting is a loop. */
const DEEPEST = 64;

/** Characters; a prototype that names itself in its parameters doubles at every step. */
const LONGEST_SIGNATURE = 1 << 16;

const KEYWORDS: ReadonlyMap<number, string> = new Map([
  [DW_TAG_structure_type, 'struct'],
  [DW_TAG_union_type, 'union'],
  [DW_TAG_enumeration_type, 'enum'],
]);

const QUALIFIERS: ReadonlySet<number> = new Set([
  DW_TAG_const_type,
  DW_TAG_volatile_type,
  DW_TAG_restrict_type,
  DW_TAG_atomic_type,
]);

const INTEGERS: ReadonlySet<number> = new Set([
  DW_ATE_boolean,
  DW_ATE_signed,
  DW_ATE_signed_char,
  DW_ATE_unsigned,
  DW_ATE_unsigned_char,
]);

/** What is known of a type so far: most of a kernel unit's types are never asked for more than one of these. */
interface Known {
  readonly resolved: Resolved;
  size: number | undefined;
  signature: string | undefined;
  kind: Kind | undefined;
  element: Element | undefined;
}

const VOID: Resolved = { entry: undefined, name: undefined };

/**
 * Describes the types of one object. Descriptions of two objects are equal exactly when the types are, down to the
 * names of structs.
 */
export class TypeReader implements Types {
  readonly dwarf: Dwarf;
  readonly #known = new Map<number, Known>();
  readonly #layouts = new Map<number, Layout>();
  #depth = 0;

  constructor(dwarf: Dwarf) {
    this.dwarf = dwarf;
  }

  /** The type of a member, variable or parameter, also where another entry declares it. */
  typeOf(entry: Entry): TypeOffset {
    return this.dwarf.inherited(entry, (each) => this.dwarf.referenceOffset(each, DW_AT_type));
  }

  resolve(type: TypeOffset): Resolved {
    return type === undefined ? VOID : this.#knownOf(type).resolved;
  }

  /**
   * Bytes of a value; 0 where the object does not say (`void`, functions, arrays without bounds, types that are only
   * declared).
   */
  size(type: TypeOffset): number {
    if (type === undefined) return 0;
    const known = this.#knownOf(type);
    known.size ??= this.#nested(() => this.#measure(known.resolved.entry));
    return known.size;
  }

  /** The type in C's words without typedefs and qualifiers; named structs, unions and enums by their names alone. */
  signature(type: TypeOffset): string {
    if (type === undefined) return 'void';
    const known = this.#knownOf(type);
    if (known.signature === undefined) {
      const signature = this.#nested(() => this.#describe(known.resolved));
      if (signature.length > LONGEST_SIGNATURE) throw damaged('a type takes more words than any real one');
      this.dwarf.spend(signature.length >> 1);
      known.signature = signature;
    }
    return known.signature;
  }

  kind(type: TypeOffset): Kind {
    if (type === undefined) return 'other';
    const known = this.#knownOf(type);
    known.kind ??= this.#classify(known.resolved.entry);
    return known.kind;
  }

  element(type: TypeOffset): Element {
    if (type === undefined) return { resolved: VOID, bounds: '' };
    const known = this.#knownOf(type);
    known.element ??= this.#nested(() => this.#open(known.resolved));
    return known.element;
  }

  /** The size and members of a struct or union. */
  layout(entry: Entry): Layout {
    let layout = this.#layouts.get(entry.offset);
    if (layout === undefined) {
      const members = this.#nested(() => readMembers(this, entry));
      layout = { size: this.dwarf.count(entry, DW_AT_byte_size) ?? 0, members };
      this.#layouts.set(entry.offset, layout);
    }
    return layout;
  }

  /** Types of the parameters, `...` last where there can be more. */
  #parameters(entry: Entry): string[] {
    return this.dwarf.children(entry).flatMap((child) => {
      if (child.abbreviation.tag === DW_TAG_unspecified_parameters) return ['...'];
      return child.abbreviation.tag === DW_TAG_formal_parameter ? [this.signature(this.typeOf(child))] : [];
    });
  }

  #nested<T>(work: () => T): T {
    if (this.#depth >= DEEPEST) throw damaged('a type is made of itself');
    this.#depth++;
    try {
      return work();
    } finally {
      this.#depth--;
    }
  }

  #knownOf(type: number): Known {
    let known = this.#known.get(type);
    if (known === undefined) {
      const resolved = this.#resolve(this.dwarf.entry(type));
      known = { resolved, size: undefined, signature: undefined, kind: undefined, element: undefined };
      this.#known.set(type, known);
    }
    return known;
  }

  #resolve(type: Entry): Resolved {
    const { dwarf } = this;
    let typedef: string | undefined;
    let entry = type;
    for (let hops = 0; hops < DEEPEST; hops++) {
      const { tag } = entry.abbreviation;
      if (tag === DW_TAG_typedef) typedef = dwarf.text(entry, DW_AT_name);
      else if (!QUALIFIERS.has(tag)) {
        const real = dwarf.resolved(entry);
        const keyword = KEYWORDS.get(real.abbreviation.tag);
        if (keyword === undefined) return { entry: real, name: undefined };
        const name = dwarf.text(real, DW_AT_name);
        return { entry: real, name: name === undefined ? typedef : `${keyword} ${name}` };
      }
      const next = dwarf.reference(entry, DW_AT_type);
      if (next === undefined) return VOID;
      entry = next;
    }
    throw damaged('a typedef leads to itself');
  }

  #classify(entry: Entry | undefined): Kind {
    if (entry === undefined) return 'other';
    switch (entry.abbreviation.tag) {
      case DW_TAG_enumeration_type:
        return 'integer';
      case DW_TAG_base_type:
        return INTEGERS.has(this.dwarf.count(entry, DW_AT_encoding) ?? 0) ? 'integer' : 'other';
      case DW_TAG_pointer_type:
        return this.resolve(this.#behind(entry)).entry === undefined ? 'void-pointer' : 'pointer';
      default:
        return 'other';
    }
  }

  #open(resolved: Resolved): Element {
    const { entry } = resolved;
    if (entry?.abbreviation.tag !== DW_TAG_array_type) return { resolved, bounds: '' };
    const bounds = this.#dimensions(entry).map((count) => `[${count ?? ''}]`);
    const inner = this.element(this.#behind(entry));
    return { resolved: inner.resolved, bounds: bounds.join('') + inner.bounds };
  }

  /** What a pointer, array or function type is made of. */
  #behind(entry: Entry): TypeOffset {
    return this.dwarf.referenceOffset(entry, DW_AT_type);
  }

  #measure(entry: Entry | undefined): number {
    if (entry === undefined) return 0;
    const { tag } = entry.abbreviation;
    const size = this.dwarf.count(entry, DW_AT_byte_size);
    if (size !== undefined) return size;
    if (tag === DW_TAG_pointer_type) return entry.unit.addressSize;
    if (tag !== DW_TAG_array_type) return 0;
    const count = this.#dimensions(entry).reduce<number>((product, each) => product * (each ?? 0), 1);
    return count * this.size(this.#behind(entry));
  }

  /** `undefined` for a dimension that is open: `[]` and GCC's `[0]` lay out the same. */
  #dimensions(array: Entry): (number | undefined)[] {
    const { dwarf } = this;
    return dwarf
      .children(array)
      .filter(({ abbreviation }) => abbreviation.tag === DW_TAG_subrange_type)
      .map((subrange) => {
        const upper = dwarf.constant(subrange, DW_AT_upper_bound);
        const count =
          dwarf.count(subrange, DW_AT_count) ?? (upper === undefined ? 0 : Number(BigInt.asIntN(64, upper)) + 1);
        return count > 0 ? count : undefined;
      });
  }

  #describe(resolved: Resolved): string {
    const { entry, name } = resolved;
    if (name !== undefined) return name;
    if (entry === undefined) return 'void';
    const { tag } = entry.abbreviation;
    switch (tag) {
      case DW_TAG_pointer_type:
        return `${this.signature(this.#behind(entry))} *`;
      case DW_TAG_array_type: {
        const element = this.#open(resolved);
        return `${this.#describe(element.resolved)} ${element.bounds}`;
      }
      case DW_TAG_subroutine_type:
        return `${this.signature(this.#behind(entry))} (${this.#parameters(entry).join(', ')})`;
      case DW_TAG_structure_type:
      case DW_TAG_union_type: {
        const { members } = this.layout(entry);
        return `${KEYWORDS.get(tag)} { ${members.map((each) => `${each.type} ${each.path}@${each.bit}:${each.bits}`).join('; ')} }`;
      }
      case DW_TAG_enumeration_type:
        return 'enum';
      default:
        return this.dwarf.text(entry, DW_AT_name) ?? `type 0x${tag.toString(16)}`;
    }
  }
}
