export * from './constants.ts';
export {
  buildIdOf,
  identifyModule,
  type ModuleIdentity,
  moduleIdentity,
  UNNAMED_MODULE,
  unsignedModule,
} from './content.ts';
export { ElfError, type ElfErrorCode } from './error.ts';
export {
  type ElfFile,
  type ElfSymbol,
  type LivepatchRelocations,
  type Relocation,
  type Section,
  type Segment,
  sectionOf,
} from './model.ts';
export { buildId, type Note, readNotes } from './notes.ts';
export { readElf } from './reader.ts';
export { writeElf } from './writer.ts';
