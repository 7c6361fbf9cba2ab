export type { Address } from './addresses.ts';
export { Dwarf, type Entry } from './dwarf.ts';
export { missingDwarf, readDwarf } from './read.ts';
export type { Unit } from './units.ts';
