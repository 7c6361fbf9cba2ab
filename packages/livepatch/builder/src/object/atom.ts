import type { ElfSymbol, Section } from '@kmend/elf';

/**
 * The smallest part of an object that is kept or left as a whole: a function, a variable, a string, a nameless
 * constant.
 */
export interface Atom {
  readonly kind: 'function' | 'data' | 'string' | 'anonymous';
  readonly section: Section;
  readonly start: number;
  readonly end: number;
  readonly symbol?: ElfSymbol;
  /** Other symbols of the same place. */
  readonly aliases: readonly ElfSymbol[];
  /**
   * What two compilations of a unit call the same: the name without compiler-given numbers, with its position where
   * several share it. Empty for what has no name.
   */
  readonly key: string;
  /** Start of the type hash that kCFI puts in front of a function. */
  readonly prefix?: number;
}
