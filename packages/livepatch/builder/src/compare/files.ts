import { type ElfSymbol, STB_LOCAL, STT_FILE } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import type { ObjectView } from '../object/view.ts';

/**
 * Which source file of a module each private symbol is of: `ld -r` keeps every unit's `STT_FILE` symbol in front of its
 * private ones (gABI, "Symbol Table"). Two files of one module may each have a `static int debug`, which are two
 * variables.
 */
export class SourceFiles {
  readonly #files = new Map<ElfSymbol, string>();
  readonly #names = new Set<string>();
  readonly #twice = new Set<string>();

  constructor(view: ObjectView) {
    let current = '';
    for (const symbol of view.file.symbols) {
      if (symbol.type === STT_FILE) {
        current = symbol.name;
        if (this.#names.has(current)) this.#twice.add(current);
        this.#names.add(current);
      } else if (symbol.bind === STB_LOCAL) this.#files.set(symbol, current);
    }
  }

  /** Whether there is anything to tell apart. */
  get areSeveral(): boolean {
    return this.#names.size > 1 || this.#twice.size > 0;
  }

  /** Whether files of several folders have that name; the symbol has no folder. */
  isTwice(name: string): boolean {
    return this.#twice.has(name);
  }

  /** `*` for what all files can use. */
  of({ symbol }: Atom): string {
    return symbol === undefined ? '' : (this.#files.get(symbol) ?? '*');
  }
}
