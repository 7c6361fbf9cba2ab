import {
  DW_AT_abstract_origin,
  DW_AT_declaration,
  DW_AT_low_pc,
  DW_AT_ranges,
  DW_AT_type,
  DW_TAG_array_type,
  DW_TAG_enumeration_type,
  DW_TAG_inlined_subroutine,
  DW_TAG_pointer_type,
  DW_TAG_subroutine_type,
} from '../../dwarf/constants.ts';
import type { Entry } from '../../dwarf/index.ts';
import { isAggregate, type Resolved, type TypeOffset } from './model.ts';
import type { References } from './references.ts';
import type { Scope } from './scope.ts';

/** One step from a function, variable or type to a type: the name it goes by, and its type. */
interface Edge {
  readonly from: Node;
  readonly label: string;
  /** The type itself or an array of it, not behind a pointer. */
  readonly isValue: boolean;
}

interface Node {
  readonly kind: 'function' | 'declaration' | 'variable' | 'type';
  readonly name: string;
}

/** What types are told apart by: their names; an enumeration without one by its place. */
export function typeKey({ entry, name }: Resolved): string | undefined {
  if (name !== undefined || entry?.abbreviation.tag !== DW_TAG_enumeration_type) return name;
  return `enum@${entry.offset}`;
}

/** Who touches a type. */
export interface Users {
  /** Functions of the livepatch, nearest first, each with the shortest way to the type: `ep: struct eventpoll *`. */
  readonly functions: readonly { readonly name: string; readonly way: string }[];
  /** Variables at file scope and functions that the livepatch leaves alone. */
  readonly others: readonly string[];
}

/**
 * Who touches which named types in a unit: through parameters, variables (also of blocks and of what was inlined),
 * results, the variables and functions that the code refers to, and from there through pointers, members, arrays and
 * prototypes.
 */
export class Usage {
  readonly #scope: Scope;
  readonly #livepatch: ReadonlySet<string>;
  /** By type name: who leads to it directly. */
  readonly #edges = new Map<string, Edge[]>();
  readonly #targets = new Map<number, readonly string[]>();
  readonly #references: References;

  constructor(scope: Scope, livepatch: ReadonlySet<string>, references: References) {
    this.#scope = scope;
    this.#livepatch = livepatch;
    this.#references = references;
    this.#addTypes();
    for (const [name, entries] of scope.functions) this.#addFunction(name, entries);
    for (const [name, entries] of scope.variables) {
      for (const entry of entries) this.#addEdges({ kind: 'variable', name }, name, scope.reader.typeOf(entry));
    }
  }

  /** `type` is a `typeKey`. */
  of(type: string): Users {
    const functions = new Map<string, string>();
    const others = new Set<string>();
    const seen = new Set([type]);
    // Breadth first from the type, so that the first way found to a function is a shortest one.
    let level: { readonly type: string; readonly way: string }[] = [{ type, way: '' }];
    while (level.length > 0) {
      const next: typeof level = [];
      for (const { type: at, way } of level) {
        for (const { from, label } of this.#edges.get(at) ?? []) {
          const longer = way === '' ? label : `${label} -> ${way}`;
          if (from.kind === 'type') {
            if (seen.has(from.name)) continue;
            seen.add(from.name);
            next.push({ type: from.name, way: longer });
          } else if (from.kind === 'function' && this.#livepatch.has(from.name)) {
            if (!functions.has(from.name)) functions.set(from.name, longer);
          } else others.add(from.name);
        }
      }
      level = next;
    }
    return { functions: [...functions].map(([name, way]) => ({ name, way })), others: [...others] };
  }

  /**
   * Functions of the livepatch that have a pointer to a type, nearest first, where nothing that is declared gives them
   * one: there is no variable or part of another type, and none comes out of a function outside the livepatch. Then it
   * was made of an untyped pointer. `fresh`: the types that the original code did not have.
   */
  ofUntyped(type: string, fresh: ReadonlySet<string>): Users['functions'] {
    if (this.#isGiven(type, fresh, new Set())) return [];
    const functions = new Map<string, string>();
    for (const { from, label } of this.#edges.get(type) ?? []) {
      if (from.kind === 'function' && !functions.has(from.name)) functions.set(from.name, label);
    }
    return [...functions].map(([name, way]) => ({ name, way }));
  }

  #isGiven(type: string, fresh: ReadonlySet<string>, seen: Set<string>): boolean {
    seen.add(type);
    return (this.#edges.get(type) ?? []).some(({ from, isValue }) => {
      if (from.kind !== 'type') return isValue || from.kind !== 'function' || !this.#livepatch.has(from.name);
      return !seen.has(from.name) && (!fresh.has(from.name) || this.#isGiven(from.name, fresh, seen));
    });
  }

  /** Whether a struct or union has a member of the type, directly or behind pointers. */
  isMemberType(type: string): boolean {
    return (this.#edges.get(type) ?? []).some(({ from }) => from.kind === 'type');
  }

  #addTypes(): void {
    const { reader, aggregates } = this.#scope;
    for (const [name, entry] of aggregates) {
      for (const { path, typeOffset } of reader.layout(entry).members) {
        this.#addEdges({ kind: 'type', name }, path, typeOffset);
      }
    }
  }

  #addFunction(name: string, entries: readonly Entry[]): void {
    const { dwarf, reader, variables, functions } = this.#scope;
    // What was only inlined counts with those it was inlined into.
    const hasCode = entries.some((entry) => dwarf.has(entry, DW_AT_low_pc) || dwarf.has(entry, DW_AT_ranges));
    const isDeclared = entries.every((entry) => dwarf.flag(entry, DW_AT_declaration));
    if (!hasCode && !isDeclared && !this.#livepatch.has(name)) return;
    const node: Node = { kind: hasCode || this.#livepatch.has(name) ? 'function' : 'declaration', name };
    const seen = new Set<number>();
    const queue = [...entries];
    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      if (seen.has(entry.offset)) continue;
      seen.add(entry.offset);
      this.#addEdges(node, 'its result', dwarf.referenceOffset(entry, DW_AT_type));
      const instanceOf = dwarf.reference(entry, DW_AT_abstract_origin);
      if (instanceOf !== undefined) queue.push(instanceOf);
      dwarf.descend(entry, (each) => {
        if (each.abbreviation.tag === DW_TAG_inlined_subroutine) {
          const inlined = dwarf.reference(each, DW_AT_abstract_origin);
          if (inlined !== undefined) queue.push(inlined);
        } else this.#addEdges(node, dwarf.name(each) ?? 'a value', reader.typeOf(each));
      });
    }
    for (const used of this.#references.get(name) ?? []) {
      for (const entry of variables.get(used) ?? []) this.#addEdges(node, used, reader.typeOf(entry));
      for (const entry of functions.get(used) ?? []) this.#addEdges(node, `${used}()`, reader.typeOf(entry));
    }
  }

  #addEdges(from: Node, label: string, type: TypeOffset): void {
    if (type === undefined) return;
    const names = this.#targetsOf(type);
    if (names.length === 0) return;
    this.#scope.dwarf.spend(names.length);
    const text = `${label}: ${this.#scope.reader.signature(type)}`;
    const value = typeKey(this.#scope.reader.element(type).resolved);
    for (const name of names) {
      const edge = { from, label: text, isValue: name === value };
      const edges = this.#edges.get(name);
      if (edges === undefined) this.#edges.set(name, [edge]);
      else edges.push(edge);
    }
  }

  /** The named types that a type leads to, up to the first name on each way. */
  #targetsOf(type: number): readonly string[] {
    const known = this.#targets.get(type);
    if (known !== undefined) return known;
    // Until it is known, a type that leads to itself leads to nothing more.
    this.#targets.set(type, []);
    const names = [...new Set(this.#lead(type))];
    this.#targets.set(type, names);
    return names;
  }

  #lead(type: number): string[] {
    const { dwarf, reader } = this.#scope;
    const resolved = reader.resolve(type);
    const key = typeKey(resolved);
    if (key !== undefined) return [key];
    const { entry } = resolved;
    const behind = (from: Entry): readonly string[] => {
      const next = dwarf.referenceOffset(from, DW_AT_type);
      return next === undefined ? [] : this.#targetsOf(next);
    };
    switch (entry?.abbreviation.tag) {
      case DW_TAG_pointer_type:
      case DW_TAG_array_type:
        return [...behind(entry as Entry)];
      case DW_TAG_subroutine_type:
        return [entry as Entry, ...dwarf.children(entry as Entry)].flatMap(behind);
      default:
        if (!isAggregate(entry)) return [];
        return reader
          .layout(entry)
          .members.flatMap(({ typeOffset }) => (typeOffset === undefined ? [] : this.#targetsOf(typeOffset)));
    }
  }
}
