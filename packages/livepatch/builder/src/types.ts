import type { VerdictReason } from '@kmend/protocol';

/**
 * The data that flows through the builder's stages:
 *
 *   fixes -> (source) original and patched text -> (compile) objects -> (proof) UnitProof
 *         -> (compare) Change -> (extract) Extracted -> (link) Resolutions, then the livepatch module
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

/** Where a symbol of a unit really lies in the running kernel, proven from the shipped bytes. */
export interface ProvenAddress {
  readonly object: ObjectName;
  /** The name kallsyms shows for it (may have another numeric suffix than in our object). */
  readonly name: string;
  /** vmlinux: link address; module: address in the layout that the proof made. */
  readonly address: bigint;
  /** 0 where the name is unique in the object, else the 1-based position among same-named symbols in kallsyms order. */
  readonly sympos: number;
}

/** Outcome of the byte proof of one unit (docs/builder.md, "The byte proof"). */
export interface UnitProof {
  readonly source: string;
  readonly object: ObjectName;
  /** Functions compared and found equal, by symbol name in the original object. */
  readonly equal: readonly string[];
  readonly different: readonly ByteDifference[];
  /**
   * Every symbol of the original object whose place in the kernel the equal bytes prove: functions, and all that their
   * relocations name.
   */
  readonly addresses: ReadonlyMap<string, ProvenAddress>;
}

export interface ByteDifference {
  readonly function: string;
  /** Offset in the function of the first instruction that differs; absent when the function was not found at all. */
  readonly offset?: number;
  /** That instruction in the kernel, and as it was built here. */
  readonly shipped?: DifferingInstruction;
  readonly built?: DifferingInstruction;
  readonly reason: 'bytes-differ' | 'not-in-kernel' | 'ambiguous';
}

export interface DifferingInstruction {
  /** As many bytes as an instruction can have, or the function still has. */
  readonly bytes: Uint8Array;
  /** What it refers to; in the kernel's, what lies at the address. */
  readonly target?: string;
}

/** A reason for a verdict other than `patchable`. `code` is stable; docs/builder.md lists them. */
export type Reason = VerdictReason;

/** How a reference is satisfied in the livepatch module. */
export type Resolution =
  | { readonly kind: 'export'; readonly name: string; readonly exportedName: string; readonly namespace: string }
  | {
      readonly kind: 'klp';
      readonly name: string;
      readonly object: ObjectName;
      readonly symbol: string;
      readonly sympos: number;
    };
