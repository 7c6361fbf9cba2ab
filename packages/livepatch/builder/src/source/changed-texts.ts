import type { ChangedHeaders } from './header-tree.ts';

/** Texts that others include, and what becomes of them. */
export interface ChangedTexts {
  /** Path to the shipped text. */
  readonly stock: ReadonlyMap<string, string>;
  /** The states to compare with the shipped one. */
  readonly states: readonly ChangedHeaders[];
}
