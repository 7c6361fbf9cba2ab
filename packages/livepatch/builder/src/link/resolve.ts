import type { Exports, KernelSymbol, SymbolTable } from '@kmend/kernel';
import type { CodeOf } from '@kmend/protocol';
import type { ShippedImage } from '../byte-proof/image.ts';
import { isInit } from '../compare/rules.ts';
import type { Need } from '../extract/emit.ts';
import type { ObjectName, Reason, Resolution, Unit, UnitProof } from '../types.ts';

/** What references are settled with: the kernel's exports and symbols, and what the byte proof showed. */
export interface ResolveFacts {
  readonly unit: Unit;
  readonly proof: UnitProof;
  readonly exports: Exports;
  /** Symbols of vmlinux. */
  readonly vmlinux: Pick<SymbolTable, 'named'>;
  /** Symbols of a module by the module's name; `undefined` where it is not shipped. */
  readonly module: (name: string) => readonly KernelSymbol[] | undefined;
  readonly image: ShippedImage;
  /** Modules that are there whenever the unit's code runs. */
  readonly requires: ReadonlySet<ObjectName>;
}

/**
 * How one symbol that the livepatch needs is found at load time. What vmlinux exports is an ordinary reference, checked
 * by its CRC. All else livepatch resolves by object, name and position, which must be certain; otherwise the answer is
 * a reason.
 */
export function resolveNeed(need: Need, facts: ResolveFacts): Resolution | Reason {
  const { unit, proof, exports } = facts;
  const listed = exports.get(need.name);
  const exported = listed?.object === 'vmlinux' && isForOthers(listed.namespace) ? undefined : listed;
  const isOwn = need.original !== undefined;
  if (exported?.object === 'vmlinux' && (!isOwn || unit.object === 'vmlinux')) {
    return { kind: 'export', name: need.name, exportedName: need.name, namespace: exported.namespace };
  }
  const refuse = (code: CodeOf<'refused'>, message: string): Reason => ({
    code,
    verdict: 'refused',
    message,
    source: unit.source,
    symbol: need.name,
  });
  const klp = (object: string, symbol: string, sympos: number): Resolution => ({
    kind: 'klp',
    name: need.name,
    object,
    symbol,
    sympos,
  });
  const proven = proof.addresses.get(need.name);
  if (need.original !== undefined && unit.object !== 'vmlinux' && isInit(need.original.section)) {
    const message = `${need.name} (${need.original.section.name}) is gone from ${unit.object} once it has started, and cannot be found then`;
    return refuse('init-referenced', message);
  }
  if (isOwn) {
    if (proven !== undefined) {
      return hasStartingTwin(facts, unit.object, proven.name)
        ? refuse('symbol-unproven', twinMessage(unit.object, proven.name))
        : klp(unit.object, proven.name, proven.sympos);
    }
    const places = facts.image.named(need.name);
    // The numbers of static variables (`calls.3`) are the compiler's: one of that name may be another's.
    const isNumbered = need.original?.kind === 'data' && /\.\d+$/.test(need.name);
    if (places.length === 1 && !isNumbered) return klp(unit.object, need.name, 0);
    return refuse(
      'symbol-unproven',
      `which ${need.name} of ${unit.object} is meant cannot be proven (${places.length} have that name)`,
    );
  }
  if (exported !== undefined) return inModule(need, facts, exported.object, refuse, klp);
  if (unit.object !== 'vmlinux' && facts.module(unit.object)?.some(({ name }) => name === need.name)) {
    return inModule(need, facts, unit.object, refuse, klp);
  }
  if (proven !== undefined && unit.object === 'vmlinux') return klp('vmlinux', proven.name, proven.sympos);
  const places = facts.vmlinux.named(need.name);
  const globals = places.filter(({ type }) => type === type.toUpperCase() || type === 'w' || type === 'v');
  const [only] = globals;
  // Static ones of other files are none that this unit could mean.
  if (only === undefined) return refuse('symbol-unknown', `the kernel has no global symbol ${need.name}`);
  if (globals.length > 1)
    return refuse('symbol-unproven', `the kernel has ${globals.length} global symbols ${need.name}`);
  return klp('vmlinux', need.name, places.length === 1 ? 0 : places.indexOf(only) + 1);
}

/** What 6.16 and later export to named modules alone (`EXPORT_SYMBOL_FOR_MODULES()`), no other may import. */
function isForOthers(namespace: string): boolean {
  return namespace.startsWith('module:');
}

function inModule(
  need: Need,
  facts: ResolveFacts,
  object: string,
  refuse: (code: CodeOf<'refused'>, message: string) => Reason,
  klp: (object: string, symbol: string, sympos: number) => Resolution,
): Resolution | Reason {
  const { unit, requires } = facts;
  // Filled in when the unit's object comes: what has the symbol must be there by then (kernel/livepatch/core.c,
  // klp_module_coming).
  if (object !== unit.object && !requires.has(object)) {
    const message = `${need.name} is in the module ${object}, which ${unit.object} does not depend on: it may be missing when the new code runs`;
    return refuse('symbol-late', message);
  }
  const named = facts.module(object)?.filter(({ name }) => name === need.name) ?? [];
  if (hasStartingTwin(facts, object, need.name)) return refuse('symbol-unproven', twinMessage(object, need.name));
  const globals = named.filter(({ type }) => type === 'T');
  const [only] = globals;
  if (only === undefined || globals.length > 1)
    return refuse('symbol-unproven', `${need.name} is not one global symbol of ${object}`);
  return klp(object, need.name, named.length === 1 ? 0 : named.indexOf(only) + 1);
}

/**
 * A module has several symbols of a name, one of them in a section that is dropped once the module has started:
 * positions then count differently while it loads and afterwards (kernel/module/kallsyms.c).
 */
export function hasStartingTwin(facts: Pick<ResolveFacts, 'module'>, object: string, name: string): boolean {
  if (object === 'vmlinux') return false;
  const named = facts.module(object)?.filter((symbol) => symbol.name === name) ?? [];
  return named.length > 1 && named.some(({ type }) => type.toLowerCase() === 'i');
}

export function twinMessage(object: string, name: string): string {
  return `${object} has several ${name}, some only while it starts: which is meant depends on the moment`;
}

export function isReason(outcome: Resolution | Reason): outcome is Reason {
  return 'verdict' in outcome;
}
