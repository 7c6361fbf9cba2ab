import {
  DW_AT_abstract_origin,
  DW_AT_const_value,
  DW_AT_declaration,
  DW_AT_external,
  DW_AT_location,
  DW_OP_addr,
  DW_OP_addrx,
  DW_OP_GNU_addr_index,
  DW_TAG_formal_parameter,
  DW_TAG_inlined_subroutine,
  DW_TAG_unspecified_parameters,
  DW_TAG_variable,
} from '../../dwarf/constants.ts';
import type { Dwarf, Entry } from '../../dwarf/index.ts';
import { canReinterpret } from './layouts.ts';
import type { Kind, TypeOffset } from './model.ts';
import type { Scope } from './scope.ts';

/** A function or variable that is declared otherwise than before. */
export interface ChangedDeclaration {
  readonly name: string;
  readonly before: string;
  readonly after: string;
  /** What is made for the one can be used as the other, if perhaps with another meaning. */
  readonly compatible: boolean;
}

interface Described {
  readonly type: string;
  readonly size: number;
  readonly kind: Kind;
}

/**
 * The named functions that other units can call, where they take other parameters or give another result than before.
 */
export function comparePrototypes(original: Scope, patched: Scope, names: Iterable<string>): ChangedDeclaration[] {
  return [...names].flatMap((name): ChangedDeclaration[] => {
    const before = prototype(original, name);
    const after = prototype(patched, name);
    if (before === undefined || after === undefined) return [];
    const [old, now] = [prototypeText(before), prototypeText(after)];
    if (old === now) return [];
    const [oldResult, ...oldParameters] = before;
    const [newResult, ...newParameters] = after;
    const compatible =
      oldParameters.length === newParameters.length &&
      oldParameters.every((each, index) => isCompatible(each, newParameters[index])) &&
      // A caller that knows of no result does not look at one, unless it had to make room for it.
      (isCompatible(oldResult, newResult) || (oldResult?.type === 'void' && newResult?.kind !== 'other'));
    return [{ name, before: old, after: now, compatible }];
  });
}

/** Result first, then the parameters. */
function prototype(scope: Scope, name: string): Described[] | undefined {
  const { dwarf, reader } = scope;
  const entry = scope.functions.get(name)?.find((each) => dwarf.flag(each, DW_AT_external));
  if (entry === undefined) return undefined;
  const parameters = dwarf.children(entry).flatMap((child): Described[] => {
    if (child.abbreviation.tag === DW_TAG_unspecified_parameters) return [{ type: '...', size: 0, kind: 'other' }];
    return child.abbreviation.tag === DW_TAG_formal_parameter ? [describe(scope, reader.typeOf(child))] : [];
  });
  return [describe(scope, reader.typeOf(entry)), ...parameters];
}

function prototypeText([result, ...parameters]: readonly Described[]): string {
  return `${result?.type} (${parameters.map(({ type }) => type).join(', ')})`;
}

function describe({ reader }: Scope, type: TypeOffset): Described {
  return { type: reader.signature(type), size: reader.size(type), kind: reader.kind(type) };
}

function isCompatible(old: Described | undefined, now: Described | undefined): boolean {
  if (old === undefined || now === undefined || old.size !== now.size) return false;
  return old.type === now.type || canReinterpret(old.kind, now.kind);
}

/** The named variables at file scope, where they have another type than before. */
export function compareVariables(original: Scope, patched: Scope, names: Iterable<string>): ChangedDeclaration[] {
  return [...names].flatMap((name) => {
    const before = mainEntry(original.dwarf, original.variables.get(name));
    const after = mainEntry(patched.dwarf, patched.variables.get(name));
    return before === undefined || after === undefined ? [] : compareVariable(name, original, before, patched, after);
  });
}

/**
 * The static variables inside a function and what is inlined into it; names that it has twice are left out, since which
 * is which is not known.
 */
export function compareStaticLocals(original: Scope, patched: Scope, functionName: string): ChangedDeclaration[] {
  const before = staticLocals(original, functionName);
  const after = staticLocals(patched, functionName);
  return [...before].flatMap(([name, entries]) => {
    const now = after.get(name) ?? [];
    const [old] = entries;
    const [fresh] = now;
    if (old === undefined || fresh === undefined || entries.length !== 1 || now.length !== 1) return [];
    return compareVariable(name, original, old, patched, fresh);
  });
}

function compareVariable(
  name: string,
  original: Scope,
  before: Entry,
  patched: Scope,
  after: Entry,
): ChangedDeclaration[] {
  const old = describe(original, original.reader.typeOf(before));
  const now = describe(patched, patched.reader.typeOf(after));
  // A struct of another size is told of as that struct.
  if (old.type === now.type) return [];
  return [{ name, before: old.type, after: now.type, compatible: isCompatible(old, now) }];
}

/** The definition where there is one: a declaration may leave bounds open. */
function mainEntry(dwarf: Dwarf, entries: readonly Entry[] = []): Entry | undefined {
  return entries.find((entry) => !dwarf.flag(entry, DW_AT_declaration)) ?? entries[0];
}

/** By name and function; those of functions that are inlined into it too, once each. */
function staticLocals({ dwarf, functions }: Scope, functionName: string): Map<string, Entry[]> {
  const found = new Map<string, Map<number, Entry>>();
  const visited = new Set<number>();
  const work = (functions.get(functionName) ?? []).map((entry) => ({ entry, owner: functionName }));
  for (let next = work.pop(); next !== undefined; next = work.pop()) {
    const { entry, owner } = next;
    if (visited.has(entry.offset)) continue;
    visited.add(entry.offset);
    dwarf.descend(entry, (each) => {
      const origin = dwarf.reference(each, DW_AT_abstract_origin);
      if (each.abbreviation.tag === DW_TAG_inlined_subroutine && origin !== undefined) {
        work.push({ entry: origin, owner: dwarf.name(origin) ?? '' });
      }
      if (each.abbreviation.tag !== DW_TAG_variable || !isStatic(dwarf, each)) return;
      const name = `${dwarf.name(each) ?? ''} of ${owner}`;
      const known = found.get(name);
      const declared = origin ?? each;
      if (known === undefined) found.set(name, new Map([[declared.offset, declared]]));
      else known.set(declared.offset, declared);
    });
  }
  return new Map([...found].map(([name, entries]) => [name, [...entries.values()]]));
}

function isStatic(dwarf: Dwarf, variable: Entry): boolean {
  const operation = dwarf.block(variable, DW_AT_location)?.[0];
  return operation === DW_OP_addr || operation === DW_OP_addrx || operation === DW_OP_GNU_addr_index;
}

/** Constants at file scope that are in the code alone (`static const int limit = 5;`), where their value changed. */
export function compareConstants(original: Scope, patched: Scope): ChangedDeclaration[] {
  return [...original.variables].flatMap(([name, entries]): ChangedDeclaration[] => {
    const before = constantValue(original.dwarf, entries);
    const after = constantValue(patched.dwarf, patched.variables.get(name));
    if (before === undefined || after === undefined || before === after) return [];
    return [{ name, before, after, compatible: true }];
  });
}

function constantValue(dwarf: Dwarf, entries: readonly Entry[] = []): string | undefined {
  const entry = entries.find((each) => dwarf.has(each, DW_AT_const_value));
  if (entry === undefined) return undefined;
  return (
    dwarf.constant(entry, DW_AT_const_value)?.toString() ??
    dwarf.text(entry, DW_AT_const_value) ??
    dwarf.block(entry, DW_AT_const_value)?.toString('hex')
  );
}
