import { KmendError } from '@kmend/base';

export type ElfErrorCode =
  /** Not an ELF file at all. */
  | 'elf-not-elf'
  /** An ELF file, but not 64-bit little-endian x86-64 of a type that is read here. */
  | 'elf-unsupported'
  /** A header points outside the file. */
  | 'elf-truncated'
  /** Tables contradict each other: bad links, indexes, sizes. */
  | 'elf-inconsistent';

export class ElfError extends KmendError<ElfErrorCode> {}
