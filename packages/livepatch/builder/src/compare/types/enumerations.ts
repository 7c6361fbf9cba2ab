import { DW_AT_const_value, DW_AT_name, DW_TAG_enumerator } from '../../dwarf/constants.ts';
import type { Dwarf, Entry } from '../../dwarf/index.ts';
import type { Scope } from './scope.ts';

export interface ChangedEnumeration {
  /** `enum x`, a typedef, or `enum { FIRST, ... }`. */
  readonly title: string;
  readonly name: string | undefined;
  /** In the patched object. */
  readonly entry: Entry;
  /** `B 1 -> 2`, `C (3) removed`. */
  readonly differences: readonly string[];
  /** Only names for the end of the list (`FOO_MAX`) moved, for what was added before them. */
  readonly onlyBound: boolean;
}

/** Names that kernel code gives to the number of what stands above. */
const BOUND = /(?:^|_)(?:MAX|NUM|NR|CNT|COUNT|LAST|END|SIZE|TOTAL)(?:_|$)/i;

type Values = ReadonlyMap<string, bigint>;

/**
 * Enumerations of which an existing constant has another value or is gone. Constants that are only added change nothing
 * for others.
 */
export function compareEnumerations(original: Scope, patched: Scope): ChangedEnumeration[] {
  const now = new Map<string, { readonly entry: Entry; readonly name: string | undefined; readonly values: Values }>();
  for (const { entry, name } of patched.enumerations.values()) {
    const values = enumerators(patched.dwarf, entry);
    for (const constant of values.keys()) now.set(constant, { entry, name, values });
  }
  const changed: ChangedEnumeration[] = [];
  for (const { entry, name } of original.enumerations.values()) {
    const before = enumerators(original.dwarf, entry);
    // Constants are at file scope: any that is still there shows what became of the enumeration.
    const survivor = [...before.keys()].find((constant) => now.has(constant));
    const after = survivor === undefined ? undefined : now.get(survivor);
    if (after === undefined) continue;
    const moved: string[] = [];
    const differences: string[] = [];
    const newNames = new Map([...after.values].filter(([constant]) => !before.has(constant)).map(([k, v]) => [v, k]));
    for (const [constant, value] of before) {
      const other = now.get(constant)?.values.get(constant);
      if (other === value) continue;
      if (other !== undefined) {
        moved.push(constant);
        differences.push(`${constant} ${value} -> ${other}`);
      } else if (!newNames.has(value)) differences.push(`${constant} (${value}) removed`);
    }
    if (differences.length === 0) continue;
    changed.push({
      title: after.name ?? name ?? `enum { ${survivor}, ... }`,
      name: after.name ?? name,
      entry: after.entry,
      differences,
      onlyBound: moved.length === differences.length && areBounds(moved, before, after.values),
    });
  }
  return changed;
}

function enumerators(dwarf: Dwarf, enumeration: Entry): Values {
  const values = new Map<string, bigint>();
  for (const child of dwarf.children(enumeration)) {
    if (child.abbreviation.tag !== DW_TAG_enumerator) continue;
    const name = dwarf.text(child, DW_AT_name);
    const value = dwarf.constant(child, DW_AT_const_value);
    if (name !== undefined && value !== undefined) values.set(name, value);
  }
  return values;
}

/** All are called so, and stood and stand at the end. */
function areBounds(moved: readonly string[], before: Values, after: Values): boolean {
  if (!moved.every((constant) => BOUND.test(constant))) return false;
  const atEnd = (values: Values): boolean => {
    const bounds = moved.flatMap((constant) => values.get(constant) ?? []);
    const others = [...values].filter(([constant]) => !moved.includes(constant)).map(([, value]) => value);
    return bounds.every((bound) => others.every((other) => other <= bound));
  };
  return atEnd(before) && atEnd(after);
}
