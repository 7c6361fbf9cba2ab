import type { ElfFile } from '@kmend/elf';
import type { Cursor } from './cursor.ts';
import { joinSections } from './sections.ts';
import type { Unit } from './units.ts';

/** The string sections of an object, each string decoded once. */
export class Strings {
  readonly #strings: Cursor;
  readonly #lineStrings: Cursor;
  readonly #offsets: Cursor;
  readonly #known = new Map<Cursor, Map<number, string>>();
  readonly #spend: (steps: number) => void;

  constructor(file: ElfFile, spend: (steps: number) => void) {
    this.#strings = joinSections(file, '.debug_str').cursor;
    this.#lineStrings = joinSections(file, '.debug_line_str').cursor;
    this.#offsets = joinSections(file, '.debug_str_offsets').cursor;
    this.#spend = spend;
  }

  /** `DW_FORM_strp`. */
  at(offset: number): string {
    return this.#textAt(this.#strings, offset);
  }

  /** `DW_FORM_line_strp`. */
  lineAt(offset: number): string {
    return this.#textAt(this.#lineStrings, offset);
  }

  /** `DW_FORM_strx` and its kin (DWARF 5, 7.26); `base` is the unit's `DW_AT_str_offsets_base`. */
  indexed(unit: Unit, base: number, index: number): string {
    this.#offsets.at = base + index * unit.offsetSize;
    return this.at(this.#offsets.unsigned(unit.offsetSize));
  }

  /** Text that stands in the entry itself (`DW_FORM_string`). */
  inline(cursor: Cursor): string {
    const text = cursor.text();
    this.#spend(text.length >> 3);
    return text;
  }

  #textAt(section: Cursor, offset: number): string {
    let known = this.#known.get(section);
    if (known === undefined) {
      known = new Map();
      this.#known.set(section, known);
    }
    let text = known.get(offset);
    if (text === undefined) {
      section.at = offset;
      text = this.inline(section);
      known.set(offset, text);
    }
    return text;
  }
}
