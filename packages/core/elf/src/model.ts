/**
 * An ELF file in memory. Sections and symbols refer to each other by object, not by index, so that an edit never has to
 * renumber; the writer gives out indexes. Mutable on purpose: the builder cuts and joins objects through it.
 */
export interface ElfFile {
  /** `ET_REL`, `ET_EXEC` or `ET_DYN`. */
  type: number;
  /**
   * Without the null section and without the symbol, string and relocation tables of an `ET_REL`: those are in
   * `symbols` and `relocations`.
   */
  sections: Section[];
  /** Without the null symbol. */
  symbols: ElfSymbol[];
  /**
   * Relocations that livepatch applies itself (`SHF_RELA_LIVEPATCH`), each in its own table beside the ordinary ones.
   */
  livepatchRelocations: LivepatchRelocations[];
  /** Program headers; empty for `ET_REL`. Read only: the writer writes `ET_REL`. */
  readonly segments: readonly Segment[];
}

export interface Section {
  name: string;
  type: number;
  flags: number;
  address: bigint;
  align: number;
  entrySize: number;
  /** Content; empty for `SHT_NOBITS`. A view into the file as read: copy before changing bytes in place. */
  data: Uint8Array;
  /** Size in bytes; equals `data.length` except for `SHT_NOBITS`. */
  size: number;
  /** Relocations that apply to this section, in file order. */
  relocations: Relocation[];
  /** With `SHF_LINK_ORDER`: the section whose order it follows. */
  linkedTo?: Section;
  /** Index in the file it was read from; for messages only. */
  readonly index?: number;
}

export interface ElfSymbol {
  name: string;
  value: bigint;
  size: number;
  bind: number;
  type: number;
  /** `st_other`. */
  other: number;
  /** Where it is defined: a section; or a reserved index (`SHN_UNDEF`, `SHN_ABS`, `SHN_COMMON`, `SHN_LIVEPATCH`). */
  place: Section | number;
}

export interface Relocation {
  /** Offset in the section it applies to. */
  offset: number;
  type: number;
  symbol: ElfSymbol;
  addend: bigint;
}

/** One `.klp.rela.<object>.<section>` table (Documentation/livepatch/module-elf-format.rst). */
export interface LivepatchRelocations {
  name: string;
  target: Section;
  relocations: Relocation[];
}

export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly virtualAddress: bigint;
  readonly physicalAddress: bigint;
  readonly fileSize: number;
  readonly memorySize: number;
}

/** The section a symbol is defined in, if it is defined in one. */
export function sectionOf(symbol: ElfSymbol): Section | undefined {
  return typeof symbol.place === 'number' ? undefined : symbol.place;
}
