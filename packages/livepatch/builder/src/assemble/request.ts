import type { Edges } from '@kmend/base';
import type { BuildFacts } from '../shipped-kernel.ts';
import type { ChangedHeaders } from '../source/header-tree.ts';
import type { PreparedTree } from '../tree/tree.ts';
import type { KnownUnit } from '../tree/unit.ts';
import type { OutcomeCache } from './outcome.ts';

/** A unit at one point of a series of fixes. */
export interface UnitState {
  /** The text to compile. */
  readonly text: string;
  readonly headers: ChangedHeaders;
}

export interface UnitRequest {
  readonly unit: KnownUnit;
  readonly stock: string;
  /** What the livepatch changes: the kernel as shipped, or for a stacked one with the fixes below it. */
  readonly base: UnitState;
  readonly patched: UnitState;
  /** For a stacked livepatch: the states behind each fix below it that changes the unit. */
  readonly below: readonly { readonly fix: string; readonly state: UnitState }[];
  /** No fix changes the unit itself: a changed text that it includes reaches it. */
  readonly reached: boolean;
}

/** What units of one kernel are built with. */
export interface UnitContext {
  readonly edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly tree: PreparedTree;
  readonly cache: string;
  readonly outcomes: OutcomeCache;
  /** Hash of the building code. */
  readonly code: string;
  facts(): Promise<BuildFacts>;
  /** Folder with these headers changed. */
  headerRoot(headers: ChangedHeaders): Promise<string>;
}

/** The patched state of a unit, compiled; `undefined` for a reached unit that does not compile unpatched either. */
export interface PatchedObject {
  readonly object: string | undefined;
  readonly includes: ReadonlySet<string>;
}
