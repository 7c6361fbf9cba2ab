import type { ElfFile } from '@kmend/elf';
import { type Address, Addresses } from './addresses.ts';
import {
  DW_AT_abstract_origin,
  DW_AT_addr_base,
  DW_AT_decl_file,
  DW_AT_location,
  DW_AT_name,
  DW_AT_sibling,
  DW_AT_signature,
  DW_AT_specification,
  DW_AT_stmt_list,
  DW_AT_str_offsets_base,
  DW_FORM_data1,
  DW_FORM_data2,
  DW_FORM_data4,
  DW_FORM_flag_present,
  DW_FORM_GNU_str_index,
  DW_FORM_implicit_const,
  DW_FORM_indirect,
  DW_FORM_line_strp,
  DW_FORM_ref_addr,
  DW_FORM_ref_sig8,
  DW_FORM_ref_udata,
  DW_FORM_ref1,
  DW_FORM_ref2,
  DW_FORM_ref4,
  DW_FORM_ref8,
  DW_FORM_string,
  DW_FORM_strp,
  DW_FORM_strx,
  DW_FORM_strx1,
  DW_FORM_strx2,
  DW_FORM_strx3,
  DW_FORM_strx4,
  DW_OP_addr,
  DW_OP_addrx,
} from './constants.ts';
import { Cursor, damaged } from './cursor.ts';
import type { Entry } from './entry.ts';
import { readBlock, readConstant, skipForm } from './forms.ts';
import { readFileNames } from './lines.ts';
import { joinSections } from './sections.ts';
import { Strings } from './strings.ts';
import { readUnits, type Unit } from './units.ts';

/** How many entries a declaration may lead through to what it declares; two are seen. */
const LONGEST_ORIGIN = 8;

/**
 * The debug information of an object: DWARF 2 to 5, both formats, little-endian, with relocations applied. Entries are
 * read where they are needed. Contradictions are `dwarf-damaged`, and so is input that would make reading it take much
 * longer than its size warrants.
 */
export class Dwarf {
  readonly file: ElfFile;
  readonly units: readonly Unit[];
  readonly #info: Cursor;
  readonly #strings: Strings;
  readonly #lines: Cursor;
  readonly #infoAddresses: Addresses;
  #tableAddresses: Addresses | undefined;
  readonly #signatures = new Map<bigint, number>();
  readonly #stringBases = new Map<Unit, number>();
  readonly #fileNames = new Map<Unit, readonly string[]>();
  #budget: number;

  constructor(file: ElfFile) {
    this.file = file;
    const info = joinSections(file, '.debug_info', '.debug_types');
    this.#info = info.cursor;
    this.#infoAddresses = new Addresses(info.pieces);
    this.#strings = new Strings(file, (steps) => this.spend(steps));
    this.#lines = joinSections(file, '.debug_line').cursor;
    const abbreviations = joinSections(file, '.debug_abbrev').cursor;
    // A real object's entries are each looked at a few times; sixteen steps a byte is far more than that.
    this.#budget = 1_000_000 + 16 * (info.cursor.size + abbreviations.size);
    this.units = readUnits(info, abbreviations, (steps) => this.spend(steps));
    for (const unit of this.units) {
      if (unit.signature !== undefined && unit.typeOffset !== undefined)
        this.#signatures.set(unit.signature, unit.typeOffset);
    }
  }

  /** Counts work against the limit that the input's size sets. */
  spend(steps: number): void {
    this.#budget -= steps;
    if (this.#budget < 0) throw damaged('it refers to itself over and over');
  }

  /** The entry of the unit itself. */
  root(unit: Unit): Entry {
    return this.#read(unit.firstEntry, unit) ?? this.#noEntry(unit.firstEntry);
  }

  entry(offset: number): Entry {
    const unit = this.#unitAt(offset);
    return this.#read(offset, unit) ?? this.#noEntry(offset);
  }

  children(parent: Entry): Entry[] {
    const { unit, abbreviation } = parent;
    const found: Entry[] = [];
    if (!abbreviation.hasChildren) return found;
    let at = this.#end(parent);
    // The last list of a unit may end with the unit.
    while (at < unit.end) {
      const child = this.#read(at, unit);
      if (child === undefined) break;
      found.push(child);
      at = this.#behind(child);
    }
    return found;
  }

  /** Calls `visit` with every entry below one, at any depth. */
  descend(parent: Entry, visit: (entry: Entry) => void): void {
    this.#below(parent, visit);
  }

  /** The entry's own name, or that of what it is an instance or the definition of. */
  name(entry: Entry): string | undefined {
    return this.inherited(entry, (each) => this.text(each, DW_AT_name));
  }

  /** The first answer of an entry, its abstract origin and its declaration. */
  inherited<T>(entry: Entry, ask: (entry: Entry) => T | undefined): T | undefined {
    let each: Entry | undefined = entry;
    for (let hops = 0; each !== undefined && hops < LONGEST_ORIGIN; hops++) {
      const answer = ask(each);
      if (answer !== undefined) return answer;
      each = this.reference(each, DW_AT_abstract_origin) ?? this.reference(each, DW_AT_specification);
    }
    return undefined;
  }

  has(entry: Entry, attribute: number): boolean {
    return entry.abbreviation.attributes.includes(attribute);
  }

  flag(entry: Entry, attribute: number): boolean {
    const form = this.#find(entry, attribute);
    return form === DW_FORM_flag_present || (form !== undefined && this.#constant(entry, attribute, form) !== 0n);
  }

  text(entry: Entry, attribute: number): string | undefined {
    const form = this.#find(entry, attribute);
    if (form === undefined) return undefined;
    const { offsetSize } = entry.unit;
    switch (form) {
      case DW_FORM_string:
        return this.#strings.inline(this.#info);
      case DW_FORM_strp:
        return this.#strings.at(this.#info.unsigned(offsetSize));
      case DW_FORM_line_strp:
        return this.#strings.lineAt(this.#info.unsigned(offsetSize));
      case DW_FORM_strx:
      case DW_FORM_GNU_str_index:
        return this.#indexedText(entry.unit, this.#info.uleb());
      case DW_FORM_strx1:
        return this.#indexedText(entry.unit, this.#info.u8());
      case DW_FORM_strx2:
        return this.#indexedText(entry.unit, this.#info.u16());
      case DW_FORM_strx3:
        return this.#indexedText(entry.unit, this.#info.u24());
      case DW_FORM_strx4:
        return this.#indexedText(entry.unit, this.#info.u32());
      default:
        return undefined;
    }
  }

  /** A constant as it is stored: unsigned unless its form is signed. */
  constant(entry: Entry, attribute: number): bigint | undefined {
    const form = this.#find(entry, attribute);
    return form === undefined ? undefined : this.#constant(entry, attribute, form);
  }

  /** A constant that counts, or `undefined` where it is none or too large to. */
  count(entry: Entry, attribute: number): number | undefined {
    const form = this.#find(entry, attribute);
    switch (form) {
      case undefined:
        return undefined;
      case DW_FORM_data1:
        return this.#info.u8();
      case DW_FORM_data2:
        return this.#info.u16();
      case DW_FORM_data4:
        return this.#info.u32();
      default: {
        const value = this.#constant(entry, attribute, form);
        return value === undefined || value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value);
      }
    }
  }

  block(entry: Entry, attribute: number): Buffer | undefined {
    const form = this.#find(entry, attribute);
    return form === undefined ? undefined : readBlock(this.#info, form);
  }

  /**
   * Where a variable lies that has one place of its own for as long as the program runs; `undefined` for all others.
   */
  staticAddress(variable: Entry): Address | undefined {
    const location = this.block(variable, DW_AT_location);
    const { addressSize, offsetSize } = variable.unit;
    if (location?.[0] === DW_OP_addr && location.length === 1 + addressSize) {
      return this.#infoAddresses.at(location.byteOffset + 1 - this.#info.bytes.byteOffset);
    }
    // clang keeps the addresses in a table (DWARF 5, 7.27).
    if (location?.[0] !== DW_OP_addrx) return undefined;
    const operand = new Cursor('a location', location.subarray(1));
    const index = operand.uleb();
    this.#tableAddresses ??= new Addresses(joinSections(this.file, '.debug_addr').pieces);
    const base = this.sectionOffset(this.root(variable.unit), DW_AT_addr_base) ?? offsetSize * 2;
    return this.#tableAddresses.at(base + index * addressSize);
  }

  /** An offset into another section (`DW_FORM_sec_offset`, before version 4 `DW_FORM_data4`). */
  sectionOffset(entry: Entry, attribute: number): number | undefined {
    return this.#find(entry, attribute) === undefined ? undefined : this.#info.unsigned(entry.unit.offsetSize);
  }

  /** The entry that an attribute refers to. */
  reference(entry: Entry, attribute: number): Entry | undefined {
    const offset = this.referenceOffset(entry, attribute);
    return offset === undefined ? undefined : this.entry(offset);
  }

  /** A declaration that stands for a type in a unit of its own gives that type. */
  referenceOffset(entry: Entry, attribute: number): number | undefined {
    const form = this.#find(entry, attribute);
    const { unit } = entry;
    switch (form) {
      case undefined:
        return undefined;
      case DW_FORM_ref1:
        return unit.offset + this.#info.u8();
      case DW_FORM_ref2:
        return unit.offset + this.#info.u16();
      case DW_FORM_ref4:
        return unit.offset + this.#info.u32();
      case DW_FORM_ref8:
        return unit.offset + this.#info.u64();
      case DW_FORM_ref_udata:
        return unit.offset + this.#info.uleb();
      case DW_FORM_ref_addr:
        return this.#info.unsigned(unit.version === 2 ? unit.addressSize : unit.offsetSize);
      case DW_FORM_ref_sig8: {
        const signature = this.#info.big64();
        const offset = this.#signatures.get(signature);
        if (offset === undefined) throw damaged(`the type 0x${signature.toString(16)} is in none of its units`);
        return offset;
      }
      default:
        throw damaged(`attribute 0x${attribute.toString(16)} of the entry at ${entry.offset} is no reference`);
    }
  }

  /** What a type is: itself, or the type in a unit of its own that a declaration names by its signature. */
  resolved(type: Entry): Entry {
    return this.has(type, DW_AT_signature) ? (this.reference(type, DW_AT_signature) ?? type) : type;
  }

  /** The source file that an entry's `DW_AT_decl_file` names, as the compiler was told of it. */
  declarationFile(entry: Entry): string | undefined {
    const index = this.count(entry, DW_AT_decl_file);
    if (index === undefined) return undefined;
    const { unit } = entry;
    let names = this.#fileNames.get(unit);
    if (names === undefined) {
      names = this.#readFileNames(unit);
      this.#fileNames.set(unit, names);
    }
    return names[index];
  }

  #readFileNames(unit: Unit): string[] {
    const offset = this.sectionOffset(this.root(unit), DW_AT_stmt_list);
    if (offset === undefined) return [];
    this.#lines.at = offset;
    return readFileNames(this.#lines, this.#strings, (steps) => this.spend(steps));
  }

  #noEntry(offset: number): never {
    throw damaged(`there is no entry at ${offset}`);
  }

  #unitAt(offset: number): Unit {
    let low = 0;
    let high = this.units.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.units[middle]?.end ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    const unit = this.units[low];
    if (unit === undefined || offset < unit.firstEntry)
      throw damaged(`a reference leads to ${offset}, outside all units`);
    return unit;
  }

  /** The entry at a place, or `undefined` for the null entry that ends a list. */
  #read(offset: number, unit: Unit): Entry | undefined {
    this.spend(1);
    const info = this.#info;
    info.at = offset;
    const code = info.uleb();
    if (code === 0) return undefined;
    const abbreviation = unit.abbreviations.get(code);
    if (abbreviation === undefined)
      throw damaged(`the entry at ${offset} uses abbreviation ${code}, which is not there`);
    return { offset, unit, abbreviation, attributes: info.at };
  }

  /** Moves to an attribute's value and returns its form. */
  #find(entry: Entry, attribute: number): number | undefined {
    const { attributes, forms, sizes, places } = entry.abbreviation;
    this.spend(attributes.length >> 3);
    const index = attributes.indexOf(attribute);
    if (index === -1) return undefined;
    const info = this.#info;
    const place = places[index] ?? -1;
    info.at = entry.attributes + Math.max(place, 0);
    if (place < 0) for (let before = 0; before < index; before++) this.#skip(sizes[before], forms[before], entry.unit);
    const form = forms[index];
    return form === DW_FORM_indirect ? info.uleb() : form;
  }

  #skip(size: number | undefined, form: number | undefined, unit: Unit): void {
    if (size !== undefined && size >= 0) this.#info.at += size;
    else if (form !== undefined) skipForm(this.#info, form, unit);
  }

  #constant(entry: Entry, attribute: number, form: number): bigint | undefined {
    if (form !== DW_FORM_implicit_const) return readConstant(this.#info, form);
    return entry.abbreviation.constants[entry.abbreviation.attributes.indexOf(attribute)];
  }

  /** Where an entry's attributes end. */
  #end(entry: Entry): number {
    const { size, forms, sizes } = entry.abbreviation;
    if (size >= 0) return entry.attributes + size;
    this.spend(forms.length >> 3);
    this.#info.at = entry.attributes;
    for (let index = 0; index < forms.length; index++) this.#skip(sizes[index], forms[index], entry.unit);
    return this.#info.at;
  }

  /** Where the next entry of the same list begins. */
  #behind(entry: Entry): number {
    if (!entry.abbreviation.hasChildren) return this.#end(entry);
    if (!this.has(entry, DW_AT_sibling)) return this.#below(entry, () => undefined);
    const sibling = this.referenceOffset(entry, DW_AT_sibling) ?? 0;
    if (sibling <= entry.offset || sibling > entry.unit.end)
      throw damaged(`the entry at ${entry.offset} says that ${sibling} follows`);
    return sibling;
  }

  /** Visits all entries below one; returns where they end. */
  #below(parent: Entry, visit: (entry: Entry) => void): number {
    const { unit } = parent;
    let at = this.#end(parent);
    let depth = parent.abbreviation.hasChildren ? 1 : 0;
    while (depth > 0 && at < unit.end) {
      const entry = this.#read(at, unit);
      if (entry === undefined) {
        depth--;
        at = this.#info.at;
        continue;
      }
      visit(entry);
      at = this.#end(entry);
      if (entry.abbreviation.hasChildren) depth++;
    }
    return at;
  }

  /** DWARF 5, 7.26: the unit says where its own offsets begin. */
  #indexedText(unit: Unit, index: number): string {
    let base = this.#stringBases.get(unit);
    if (base === undefined) {
      // Set first: the unit's own entry may keep its strings there too.
      const header = unit.version >= 5 ? unit.offsetSize * 2 : 0;
      base = this.sectionOffset(this.root(unit), DW_AT_str_offsets_base) ?? header;
      this.#stringBases.set(unit, base);
    }
    return this.#strings.indexed(unit, base, index);
  }
}
