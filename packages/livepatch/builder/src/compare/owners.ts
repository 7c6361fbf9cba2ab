import { basename } from 'node:path';
import {
  DW_AT_abstract_origin,
  DW_AT_decl_column,
  DW_AT_decl_line,
  DW_AT_name,
  DW_TAG_inlined_subroutine,
  DW_TAG_lexical_block,
  DW_TAG_subprogram,
  DW_TAG_variable,
} from '../dwarf/constants.ts';
import { damaged } from '../dwarf/cursor.ts';
import { type Dwarf, type Entry, readDwarf } from '../dwarf/index.ts';
import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import { TypeReader } from './types/reader.ts';

/**
 * Whose a variable is, as the debug information says: of the file, or of one function, whatever that was inlined into.
 */
export interface Owner {
  /** Path of the unit's source as the compiler was told of it. */
  readonly unit: string;
  /** By its name in the source; absent for a variable of the file. */
  readonly function?: string;
  /** In a block inside the function: another block may have one of the same name. */
  readonly nested: boolean;
  /** File, line and column of the declaration; inside a function the line counts from that of its name. */
  readonly place: string;
  /** The type as C would write it, and how many bytes it has. */
  readonly type: () => string;
}

interface Scope {
  readonly function?: string;
  readonly nested: boolean;
  /** Of the function's name. */
  readonly line: number;
}

/** Deeper nesting is none that a person wrote. */
const DEEPEST = 256;

/** The owners of an object's variables; read when they are first asked for. */
export class Owners {
  readonly #view: ObjectView;
  #owners: ReadonlyMap<Atom, Owner> | undefined;
  #known = false;

  constructor(view: ObjectView) {
    this.#view = view;
  }

  /** `undefined` where the debug information does not tell. */
  of(atom: Atom): Owner | undefined {
    this.#read();
    return this.#owners?.get(atom);
  }

  /** Whether the object has debug information. */
  get areKnown(): boolean {
    this.#read();
    return this.#owners !== undefined;
  }

  #read(): void {
    if (this.#known) return;
    this.#known = true;
    const dwarf = readDwarf(this.#view.file);
    if (dwarf !== undefined) this.#owners = ownersOf(this.#view, dwarf);
  }
}

function ownersOf(view: ObjectView, dwarf: Dwarf): Map<Atom, Owner> {
  const scopes = new Map<number, Scope>();
  const variables: Entry[] = [];
  for (const unit of dwarf.units) {
    if (unit.kind === 'compile') collect(dwarf, dwarf.root(unit), { nested: false, line: 0 }, scopes, variables);
  }
  const reader = new TypeReader(dwarf);
  const owners = new Map<Atom, Owner>();
  for (const variable of variables) {
    const address = dwarf.staticAddress(variable);
    if (address === undefined) continue;
    const { atom, offset } = view.targetOf(address.section, address.relocation);
    if (atom?.kind !== 'data' || offset !== 0) continue;
    // A variable without size, a lock class of a kernel without lockdep, lies where the next one does.
    const isNamed = atom.symbol !== undefined && stem(atom.symbol.name) === dwarf.name(variable);
    if (!isNamed && owners.has(atom)) continue;
    // An instance in a function that was inlined, or a definition, is where it was first declared.
    const declared = origin(dwarf, variable);
    const scope = scopes.get(declared.offset);
    if (scope === undefined) continue;
    const { line, ...lexical } = scope;
    const number = (attribute: number): number => numberOf(dwarf, variable, attribute);
    const file = dwarf.inherited(variable, (each) => dwarf.declarationFile(each)) ?? '';
    owners.set(atom, {
      unit: dwarf.text(dwarf.root(declared.unit), DW_AT_name) ?? '',
      ...lexical,
      place: `${basename(file)}:${number(DW_AT_decl_line) - line}:${number(DW_AT_decl_column)}`,
      type: () => {
        const type = reader.typeOf(declared);
        return `${reader.signature(type)} (${reader.size(type)})`;
      },
    });
  }
  return owners;
}

/** All variables below an entry, and the scope of each by its entry's offset. */
function collect(
  dwarf: Dwarf,
  parent: Entry,
  scope: Scope,
  scopes: Map<number, Scope>,
  variables: Entry[],
  depth = 0,
): void {
  if (depth > DEEPEST) throw damaged('its blocks are nested too deeply');
  for (const child of dwarf.children(parent)) {
    const { tag } = child.abbreviation;
    if (tag === DW_TAG_variable) {
      scopes.set(child.offset, scope);
      variables.push(child);
    } else if (tag === DW_TAG_subprogram || tag === DW_TAG_inlined_subroutine) {
      const line = numberOf(dwarf, child, DW_AT_decl_line);
      collect(dwarf, child, { function: dwarf.name(child) ?? '', nested: false, line }, scopes, variables, depth + 1);
    } else if (tag === DW_TAG_lexical_block) {
      collect(dwarf, child, { ...scope, nested: true }, scopes, variables, depth + 1);
    }
  }
}

function numberOf(dwarf: Dwarf, entry: Entry, attribute: number): number {
  return dwarf.inherited(entry, (each) => dwarf.count(each, attribute)) ?? 0;
}

const LONGEST_ORIGIN = 8;

function origin(dwarf: Dwarf, variable: Entry): Entry {
  let entry = variable;
  for (let hops = 0; hops < LONGEST_ORIGIN; hops++) {
    const next = dwarf.reference(entry, DW_AT_abstract_origin);
    if (next === undefined) break;
    entry = next;
  }
  return entry;
}
