/**
 * The data that flows through the builder's stages:
 *
 *   fixes -> (tree) original and patched sources -> (compile) objects -> (proof) UnitProof
 *         -> (compare) Comparison -> (extract) Extraction -> (resolve) Resolution[] -> (link) livepatch module
 */

/** Which kernel object code ends up in: `vmlinux`, or a module by its name as the kernel spells it (`af_alg`). */
export type ObjectName = string;

/** A translation unit as Kbuild builds it for one kernel. */
export interface Unit {
  /** Path in the source tree, e.g. `net/ipv4/ip_options.c`. */
  readonly source: string;
  /** Owner: `vmlinux` or the module's name (underscores, as in `/proc/modules`). */
  readonly object: ObjectName;
  /** For a module, its shipped `.ko`: absolute path; absent for vmlinux. */
  readonly modulePath?: string;
}

/** A unit compiled before and after the fixes. Paths are absolute; objects carry DWARF unless said otherwise. */
export interface CompiledUnit extends Unit {
  /** The original source with exactly the flags Debian shipped it with, after the same objtool pass: for the byte proof. */
  readonly shippedObject: string;
  /** The original source with `-ffunction-sections -fdata-sections`, no objtool. */
  readonly originalObject: string;
  /** The patched source, compiled the same way as `originalObject`, line numbers neutralised. */
  readonly patchedObject: string;
}

/** Where a symbol of a unit really lies in the running kernel, proven from the shipped bytes. */
export interface ProvenAddress {
  readonly object: ObjectName;
  /** The name kallsyms shows for it (may have another numeric suffix than in our object). */
  readonly name: string;
  /** vmlinux: link address; module: offset in the section of the `.ko` that holds it. */
  readonly address: bigint;
  /** 0 where the name is unique in the object, else the 1-based position among same-named symbols in kallsyms order. */
  readonly sympos: number;
}

/** Outcome of the byte proof of one unit (design: every function of the original equals the shipped bytes). */
export interface UnitProof {
  readonly source: string;
  readonly object: ObjectName;
  /** Functions compared and found equal, by symbol name in the original object. */
  readonly equal: readonly string[];
  readonly different: readonly ByteDifference[];
  /** Every symbol of the original object whose place in the kernel the equal bytes prove: functions, and all that their relocations name. */
  readonly addresses: ReadonlyMap<string, ProvenAddress>;
}

export interface ByteDifference {
  readonly function: string;
  /** Offset in the function of the first differing byte; absent when the function was not found at all. */
  readonly offset?: number;
  readonly expected?: string;
  readonly found?: string;
  readonly reason: 'bytes-differ' | 'size-differs' | 'not-in-kernel' | 'ambiguous';
}

/** A reason for a verdict other than `patchable`, or a remark. `code` is stable. */
export interface Reason {
  readonly code: string;
  readonly verdict: 'needs-review' | 'refused';
  readonly message: string;
  readonly source?: string;
  readonly symbol?: string;
}

/** What changed between the original and the patched object of one unit. Names are those of the patched object. */
export interface Comparison {
  readonly changedFunctions: readonly string[];
  readonly newFunctions: readonly string[];
  readonly removedFunctions: readonly string[];
  readonly changedData: readonly string[];
  readonly newData: readonly string[];
  readonly reasons: readonly Reason[];
  /** Patched-object symbol name -> original-object symbol name, for every pair found to be the same thing. */
  readonly correlated: ReadonlyMap<string, string>;
}

/** A function the livepatch replaces. */
export interface ReplacedFunction {
  /** Name in the original object: what the kernel knows (before sympos is settled). */
  readonly originalName: string;
  /** Symbol in the extracted object that holds the new code. */
  readonly newSymbol: string;
}

/** A symbol the extracted object needs from the running kernel; undefined in it, under `name`. */
export interface Reference {
  readonly name: string;
  /** Name of the same symbol in the original object; absent when the original unit does not mention it. */
  readonly originalName?: string;
  /** It is defined by the unit itself (static or global), so it lives in the unit's own object. */
  readonly definedInUnit: boolean;
  readonly type: 'function' | 'object' | 'unknown';
}

/** The part of a patched unit that goes into the livepatch: plain names, undefined references, ready for objtool. */
export interface Extraction {
  readonly unit: Unit;
  /** ELF relocatable object. */
  readonly bytes: Uint8Array;
  readonly replaced: readonly ReplacedFunction[];
  readonly references: readonly Reference[];
}

/** How a reference is satisfied in the livepatch module. */
export type Resolution =
  | { readonly kind: 'export'; readonly name: string; readonly exportedName: string; readonly namespace?: string }
  | {
      readonly kind: 'klp';
      readonly name: string;
      readonly object: ObjectName;
      readonly symbol: string;
      readonly sympos: number;
    };
