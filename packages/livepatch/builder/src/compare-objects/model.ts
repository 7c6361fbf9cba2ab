import type { SizeEvidence } from '../object/tables.ts';
import type { Reason } from '../types.ts';

/** What `kmend compare` finds out about two objects of one unit or module. The same data as text and as JSON. */
export interface ObjectComparison {
  readonly original: ComparedFile;
  readonly patched: ComparedFile;
  /** The module's name, where the objects are modules. */
  readonly module?: string;
  readonly verdict: 'unchanged' | 'patchable' | 'needs-review' | 'refused';
  readonly reasons: readonly Reason[];
  readonly functions: Changes;
  readonly data: Changes;
  /** What a livepatch of the changed and new functions would take from the running kernel. */
  readonly references: readonly NeededReference[];
  readonly tables: readonly ComparedTable[];
  readonly checks: readonly Check[];
}

export interface ComparedFile {
  readonly path: string;
  readonly sha256: string;
}

export interface Changes {
  /** Those that are in both objects and do the same. */
  readonly same: number;
  readonly changed: readonly ChangedItem[];
  /**
   * Those that differ in line numbers alone, because something above them became longer or shorter: they do the same.
   */
  readonly lineMoved: readonly LineMoved[];
  readonly added: readonly Item[];
  readonly removed: readonly Item[];
}

export interface Item {
  readonly name: string;
  readonly section: string;
  /** Bytes. */
  readonly size: number;
}

/** With the first of its lines that moved. */
export interface LineMoved extends Item {
  readonly line: { readonly original: number; readonly patched: number };
}

export interface ChangedItem extends Item {
  /**
   * What the kernel calls it, where that is another name: the compiler's numbers differ (`f.constprop.0`,
   * `f.constprop.1`).
   */
  readonly originalName?: string;
  readonly originalSize: number;
  readonly difference: Difference;
  /** Names and texts that it refers to now and did not before, and the other way round. */
  readonly gained: readonly string[];
  readonly lost: readonly string[];
  /** Whether the kernel has one function of the name; only with a list of symbols. */
  readonly inKernel?: InKernel;
}

/**
 * The first thing that differs. `offset`: bytes from the start of the function, variable or entry.
 */
export type Difference =
  /** The first that differs in more than how far a branch goes inside the function; `offset` is the original's. */
  | {
      readonly kind: 'instruction';
      readonly offset: number;
      /** In AT&T syntax; absent where the side has ended, or beyond the number that is shown. */
      readonly original?: string;
      readonly patched?: string;
      /** The part of the function that differs, when it is not the function itself: `f.cold`. */
      readonly part?: string;
    }
  | { readonly kind: 'content'; readonly offset: number; readonly original: string; readonly patched: string }
  | { readonly kind: 'size'; readonly original: number; readonly patched: number }
  | { readonly kind: 'entries'; readonly table: string; readonly original: number; readonly patched: number }
  | {
      readonly kind: 'entry';
      readonly table: string;
      /** Which of the function's entries in the table. */
      readonly index: number;
      readonly offset: number;
      readonly original: string;
      readonly patched: string;
    }
  /** The hash of the function's prototype (kCFI): callers through pointers would not match. */
  | { readonly kind: 'prototype-hash' }
  | { readonly kind: 'section'; readonly original: string; readonly patched: string };

/** `unknown`: the owner of the function is a module that the list does not have. */
export type InKernel =
  | { readonly state: 'once' | 'absent' | 'unknown' }
  /** A livepatch has to say which one it means (`sympos`). */
  | { readonly state: 'ambiguous'; readonly count: number };

export interface NeededReference {
  /** As the original has it. */
  readonly name: string;
  /**
   * `exported` ones are linked as usual, `unexported` ones by livepatch; `local`: defined by the objects themselves.
   */
  readonly standing: 'exported' | 'unexported' | 'absent' | 'unknown';
  readonly local: boolean;
}

export interface ComparedTable {
  readonly section: string;
  readonly entrySize: number;
  readonly from: SizeEvidence;
}

export type CheckName = 'code-and-data' | 'tables' | 'types' | 'symbols' | 'objtool' | 'byte-proof';

/** What was checked, and what could not be, and why. */
export interface Check {
  readonly check: CheckName;
  readonly made: boolean;
  readonly note: string;
}
