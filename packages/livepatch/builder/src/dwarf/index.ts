export type { Address } from './addresses.ts';
export { Dwarf } from './dwarf.ts';
export type { Entry } from './entry.ts';
export { missingDwarf, readDwarf } from './read.ts';
export type { Unit } from './units.ts';
