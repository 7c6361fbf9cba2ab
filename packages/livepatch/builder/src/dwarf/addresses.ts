import { R_X86_64_64, type Relocation, type Section } from '@kmend/elf';
import type { Piece } from './sections.ts';

/** Where a variable lies, as a relocatable object says it: by the relocation of the field that holds its address. */
export interface Address {
  readonly section: Section;
  readonly relocation: Relocation;
}

/** The relocations of address fields in sections that are read as one, by their place in the whole. */
export class Addresses {
  readonly #pieces: readonly Piece[];
  #known: Map<number, Address> | undefined;

  constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces;
  }

  at(place: number): Address | undefined {
    this.#known ??= this.#read();
    return this.#known.get(place);
  }

  #read(): Map<number, Address> {
    const known = new Map<number, Address>();
    for (const { section, start } of this.#pieces) {
      for (const relocation of section.relocations) {
        if (relocation.type === R_X86_64_64) known.set(start + relocation.offset, { section, relocation });
      }
    }
    return known;
  }
}
