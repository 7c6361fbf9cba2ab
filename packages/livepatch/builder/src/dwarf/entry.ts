import type { Abbreviation } from './abbreviations.ts';
import type { Unit } from './units.ts';

/**
 * A debugging information entry: where it is and what shape it has. Its attributes are read when they are asked for.
 */
export interface Entry {
  /** In the joined sections; tells entries apart. */
  readonly offset: number;
  readonly unit: Unit;
  readonly abbreviation: Abbreviation;
  /** Where its attributes begin. */
  readonly attributes: number;
}
