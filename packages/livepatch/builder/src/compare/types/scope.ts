import {
  DW_AT_declaration,
  DW_AT_name,
  DW_TAG_enumeration_type,
  DW_TAG_structure_type,
  DW_TAG_subprogram,
  DW_TAG_typedef,
  DW_TAG_union_type,
  DW_TAG_variable,
} from '../../dwarf/constants.ts';
import type { Dwarf, Entry, Unit } from '../../dwarf/index.ts';
import { isAggregate } from './model.ts';
import { TypeReader } from './reader.ts';

/** What one translation unit declares at file scope, by name. */
export class Scope {
  readonly dwarf: Dwarf;
  readonly reader: TypeReader;
  /** The path the compiler was given. */
  readonly name: string;
  /** Structs and unions that are defined, by what C calls them. */
  readonly aggregates = new Map<string, Entry>();
  /** All enumerations; without a name where they have neither tag nor typedef. */
  readonly enumerations = new Map<number, { readonly entry: Entry; readonly name: string | undefined }>();
  /** Declarations, definitions and what was inlined. */
  readonly functions = new Map<string, Entry[]>();
  readonly variables = new Map<string, Entry[]>();

  constructor(dwarf: Dwarf, unit: Unit) {
    this.dwarf = dwarf;
    this.reader = new TypeReader(dwarf);
    this.name = dwarf.text(dwarf.root(unit), DW_AT_name) ?? '';
    // Types in units of their own belong to every unit that may name them.
    for (const each of dwarf.units) {
      if (each !== unit && each.kind !== 'type') continue;
      for (const entry of dwarf.children(dwarf.root(each))) this.#add(entry);
    }
  }

  /**
   * Whether the unit's own file declares an entry, so that no other unit can know of it. `source` is that file's path
   * in the tree.
   */
  isOwn(source: string, entry: Entry): boolean {
    return this.dwarf.declarationFile(entry) === this.name || this.isDeclaredIn([source], entry);
  }

  /** Whether one of some files, by their paths in the tree, declares an entry. */
  isDeclaredIn(paths: readonly string[], entry: Entry): boolean {
    const file = this.dwarf.declarationFile(entry);
    return file !== undefined && paths.some((path) => file === path || file.endsWith(`/${path}`));
  }

  #add(entry: Entry): void {
    switch (entry.abbreviation.tag) {
      case DW_TAG_structure_type:
      case DW_TAG_union_type:
      case DW_TAG_enumeration_type:
      case DW_TAG_typedef:
        this.#addType(entry);
        break;
      case DW_TAG_subprogram:
        push(this.functions, this.dwarf.name(entry), entry);
        break;
      case DW_TAG_variable:
        push(this.variables, this.dwarf.name(entry), entry);
        break;
      default:
    }
  }

  #addType(type: Entry): void {
    const { entry, name } = this.reader.resolve(type.offset);
    if (entry === undefined || this.dwarf.flag(entry, DW_AT_declaration)) return;
    if (entry.abbreviation.tag === DW_TAG_enumeration_type) {
      if (name !== undefined || !this.enumerations.has(entry.offset))
        this.enumerations.set(entry.offset, { entry, name });
    } else if (isAggregate(entry) && name !== undefined && !this.aggregates.has(name)) this.aggregates.set(name, entry);
  }
}

function push(map: Map<string, Entry[]>, name: string | undefined, entry: Entry): void {
  if (name === undefined) return;
  const list = map.get(name);
  if (list === undefined) map.set(name, [entry]);
  else list.push(entry);
}

/** Units of two objects that are the same source file compiled twice. */
export function pairScopes(original: Dwarf, patched: Dwarf): [Scope, Scope][] {
  const before = compileUnits(original);
  const after = compileUnits(patched);
  const [first] = before.values();
  const [second] = after.values();
  // A copy may be compiled under another name: of one unit each there is no doubt.
  if (before.size === 1 && after.size === 1 && first !== undefined && second !== undefined) {
    return [[new Scope(original, first), new Scope(patched, second)]];
  }
  return [...before].flatMap(([name, unit]): [Scope, Scope][] => {
    const counterpart = after.get(name);
    return counterpart === undefined ? [] : [[new Scope(original, unit), new Scope(patched, counterpart)]];
  });
}

/** By path, with the position among those of the same path. */
function compileUnits(dwarf: Dwarf): Map<string, Unit> {
  const units = new Map<string, Unit>();
  for (const unit of dwarf.units) {
    if (unit.kind !== 'compile') continue;
    const name = dwarf.text(dwarf.root(unit), DW_AT_name) ?? '';
    let position = 0;
    while (units.has(`${name}#${position}`)) position++;
    units.set(`${name}#${position}`, unit);
  }
  return units;
}
