import { type ElfFile, SHN_UNDEF, STB_LOCAL, sectionOf } from '@kmend/elf';
import type { ObjectName, Reason, Resolution } from '../types.ts';

/** What is known of a unit when the new globals of all units are settled. */
export interface ProvidingUnit {
  readonly source: string;
  readonly object: ObjectName;
  /** New global symbols that other units of the livepatch may use. */
  readonly provides: readonly string[];
  /** What it needs and the kernel does not have. */
  readonly unknown: readonly string[];
  /** What it takes from the running kernel. */
  readonly resolutions: readonly Pick<Resolution, 'name'>[];
}

/** Behind the name of a new global in objects that are to be linked: the object that it is of. */
const MARK = '.kmend_of.';

/** Modules that are there whenever a module's code runs: those it depends on, directly or not. Empty for vmlinux. */
export type Requires = (object: ObjectName) => ReadonlySet<ObjectName>;

/**
 * Which object's copy of a new global each object uses: its own; else that of vmlinux; else that of a module that it
 * depends on. Any other would be used before the kernel has filled in what *its* code refers to, which happens when
 * that module comes (klp_module_coming). A file that is linked into two modules brings a copy for each.
 */
export function resolveProvided(
  units: readonly ProvidingUnit[],
  requires: Requires,
): {
  readonly reasons: readonly Reason[];
  readonly providerOf: ReadonlyMap<ProvidingUnit, ReadonlyMap<string, ObjectName>>;
} {
  const reasons: Reason[] = [];
  const providers = new Map<string, ProvidingUnit[]>();
  for (const unit of units)
    for (const name of unit.provides) providers.set(name, [...(providers.get(name) ?? []), unit]);
  for (const [symbol, all] of providers) {
    for (const [object, same] of Map.groupBy(all, (unit) => unit.object)) {
      if (same.length < 2) continue;
      const message = `${symbol} is new in several files of ${object}: ${same.map(({ source }) => source).join(', ')}`;
      reasons.push({ code: 'symbol-unproven', verdict: 'refused', message, symbol });
    }
  }
  const providerOf = new Map<ProvidingUnit, Map<string, ObjectName>>();
  for (const unit of units) {
    const { source, object, unknown, resolutions } = unit;
    const chosen = new Map<string, ObjectName>();
    providerOf.set(unit, chosen);
    // A unit by itself cannot know that a new global of another one has the name of something that the kernel has.
    for (const { name: symbol } of resolutions) {
      if (!providers.has(symbol)) continue;
      const message = `${source} uses ${symbol}, which is new in the livepatch, and of which the kernel has another`;
      reasons.push({ code: 'symbol-unproven', verdict: 'refused', message, source, symbol });
    }
    for (const symbol of unknown) {
      if (symbol === '') {
        reasons.push({ code: 'table-unclear', verdict: 'refused', message: toForeignEntry(source), source });
        continue;
      }
      const objects = [...new Set((providers.get(symbol) ?? []).map((provider) => provider.object))].sort();
      if (objects.length === 0) {
        const message = `neither the kernel nor the livepatch has ${symbol}, which ${source} uses`;
        reasons.push({ code: 'symbol-unknown', verdict: 'refused', message, source, symbol });
        continue;
      }
      const usable = objects.filter((candidate) => requires(object).has(candidate));
      const provider = [object, 'vmlinux'].find((candidate) => objects.includes(candidate)) ?? usable[0];
      if (provider !== undefined) {
        chosen.set(symbol, provider);
        continue;
      }
      const message = `${source} (${object}) uses ${symbol}, which is new in ${objects.join(', ')}: ${object} does not depend on it and may run without it`;
      reasons.push({ code: 'symbol-late', verdict: 'refused', message, source, symbol });
    }
  }
  return { reasons, providerOf };
}

/** Gives the new globals of an extracted object, and those it takes from others, names that are one an object. */
export function nameProvided(
  file: ElfFile,
  object: ObjectName,
  provides: ReadonlySet<string>,
  providerOf: ReadonlyMap<string, ObjectName>,
): void {
  for (const symbol of file.symbols) {
    const isNew = symbol.bind !== STB_LOCAL && sectionOf(symbol) !== undefined && provides.has(symbol.name);
    const provider = symbol.place === SHN_UNDEF ? providerOf.get(symbol.name) : undefined;
    if (isNew) symbol.name = `${symbol.name}${MARK}${object}`;
    else if (provider !== undefined) symbol.name = `${symbol.name}${MARK}${provider}`;
  }
}

/** The source's name of what may be a new global. */
export function plainName(name: string): string {
  const at = name.lastIndexOf(MARK);
  return at === -1 ? name : name.slice(0, at);
}

/**
 * WARN() of 7.x hands over the place of its entry in `__bug_table` (arch/x86/include/asm/bug.h): its own is emitted.
 */
function toForeignEntry(source: string): string {
  return `new code of ${source} takes the address of a table entry that belongs to another function; report it`;
}
