import {
  type ElfFile,
  type ElfSymbol,
  isPcRelative,
  R_X86_64_PC32,
  R_X86_64_PLT32,
  type Relocation,
  relocationSize,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_STRINGS,
  SHF_WRITE,
  SHN_COMMON,
  SHT_NOBITS,
  STT_SECTION,
  sectionOf,
} from '@kmend/elf';
import { BuilderError } from '../error.ts';
import type { Atom } from './atom.ts';
import { CodeIndex, instructionsIn, lastAtMost } from './code.ts';
import { isByProduct, isPrefixSymbol, stem } from './names.ts';
import { isNaming, isTypeDescriptor, splitSection } from './split.ts';
import { isPieceSection, replacesByNothing, type StructSizes, type Table, tableOf } from './tables.ts';

/** A stretch of a section: an atom, or an entry. */
export interface Part {
  readonly section: Section;
  readonly start: number;
  readonly end: number;
}

/** An entry of a table section, with the relocations in it. */
export interface Entry extends Part {
  readonly meaningful: boolean;
  /** Which one of its function's entries in this table it is, from 0. */
  readonly index: number;
}

/** What a relocation points at. */
export interface Target {
  readonly symbol: ElfSymbol;
  /** Absent for what the object does not define. */
  readonly atom?: Atom;
  /** Instead of an atom: code hands on the place of an entry of its own, as WARN() of 7.x does. */
  readonly entry?: Entry;
  /** From the start of the atom or the entry, or from the symbol; the place meant, not the addend. */
  readonly offset: number;
  /** What the psABI's formula counts from the end of the field to the place meant: 4 for a relative field in code. */
  readonly bias: number;
}

/** A field whose content is a place elsewhere: by a relocation, or one that the assembler resolved inside a section. */
export interface Reference {
  readonly offset: number;
  readonly width: number;
  /** The relocation's type; for a resolved one, that which it would have. */
  readonly type: number;
  readonly target: Target;
}

/** An object file as atoms, entries and targets. The file must not change while the view is used. */
export class ObjectView {
  readonly file: ElfFile;
  /** Table sections by name, with how their entry size is known. */
  readonly tables = new Map<string, Table>();
  /**
   * Tables whose entries cannot be told apart: they are not compared, and nothing of this object can be trusted to be
   * complete.
   */
  readonly unclear: readonly string[];
  readonly atoms: readonly Atom[];
  readonly functions: readonly Atom[];
  readonly #code: CodeIndex;
  readonly #atoms = new Map<Section, Atom[]>();
  readonly #common = new Map<ElfSymbol, Atom>();
  readonly #loose = new Map<string, Atom>();
  readonly #entries = new Map<Atom, Entry[]>();
  readonly #entryAt = new Map<string, Entry>();
  readonly #byKey = new Map<string, Atom>();
  readonly #sorted = new Map<Section, readonly Relocation[]>();
  readonly #naming = new Map<Section, ElfSymbol[]>();
  readonly #prefixes = new Map<Section, ElfSymbol[]>();
  #marks: ReadonlyMap<Section, Set<number>> | undefined;

  /**
   * `sizes`: entry sizes of tables by their structs; those that are missing are inferred from the tables themselves.
   */
  constructor(file: ElfFile, sizes: StructSizes) {
    this.file = file;
    this.#indexSymbols();
    this.#code = new CodeIndex((section) => this.#codeEntries(section));
    const unclear: string[] = [];
    for (const section of file.sections) {
      const table = tableOf(section, sizes);
      if (table === undefined) continue;
      if ('unclear' in table) unclear.push(table.unclear);
      else this.tables.set(section.name, table);
    }
    this.unclear = unclear;
    this.#splitSections();
    this.atoms = [...this.#atoms.values(), [...this.#common.values()]].flat();
    for (const atom of this.atoms) if (atom.symbol !== undefined) this.#byKey.set(atom.key, atom);
    this.functions = this.atoms.filter(({ kind }) => kind === 'function');
    this.#assignEntries();
  }

  byKey(key: string): Atom | undefined {
    return this.#byKey.get(key);
  }

  /** Table entries that belong to a function. */
  entriesOf(atom: Atom): readonly Entry[] {
    return this.#entries.get(atom) ?? [];
  }

  relocationsIn({ section, start, end }: Part): readonly Relocation[] {
    const sorted = this.#relocations(section);
    const at = (index: number): number => sorted[index]?.offset ?? 0;
    return sorted.slice(lastAtMost(sorted.length, start - 1, at) + 1, lastAtMost(sorted.length, end - 1, at) + 1);
  }

  /** Everything that a part refers to, by offset. A relocation of type NONE refers to nothing. */
  referencesIn(part: Part): Reference[] {
    const references = this.relocationsIn(part).flatMap((relocation): Reference[] => {
      const width = relocationSize(relocation.type);
      if (width === 0) return [];
      if (width === undefined) {
        throw new BuilderError(
          'object-unsupported',
          `${part.section.name} has a relocation of type ${relocation.type} at ${relocation.offset}`,
        );
      }
      const target = this.targetOf(part.section, relocation);
      return [{ offset: relocation.offset, width, type: relocation.type, target }];
    });
    if ((part.section.flags & SHF_EXECINSTR) === 0 || (this.#atoms.get(part.section)?.length ?? 0) < 2)
      return references;
    const resolved = this.#resolvedIn(part, new Set(references.map(({ offset }) => offset)));
    return resolved.length === 0 ? references : [...references, ...resolved].sort((a, b) => a.offset - b.offset);
  }

  targetOf(section: Section, relocation: Relocation): Target {
    const { symbol } = relocation;
    const place = sectionOf(symbol);
    const bias = this.#biasOf(section, relocation, place);
    if (bias === undefined) {
      const where = `${section.name}+${relocation.offset}`;
      throw new BuilderError('object-unsupported', `the instruction at ${where} is not understood`);
    }
    if (place === undefined) {
      const atom = this.#common.get(symbol);
      const offset = Number(relocation.addend) + bias;
      return atom === undefined ? { symbol, offset, bias } : { symbol, atom, offset, bias };
    }
    const offset = Number(symbol.value + relocation.addend) + bias;
    if (replacesByNothing(section, this.tables.get(section.name)?.entrySize, relocation.offset))
      return { symbol, atom: this.#nothingAt(place, offset), offset: 0, bias };
    const entry = (section.flags & SHF_EXECINSTR) === 0 ? undefined : this.#entryOf(place, offset);
    if (entry !== undefined) return { symbol, entry, offset: offset - entry.start, bias };
    // A named symbol says what is meant even where the addend points beside it.
    const atom = symbol.type === STT_SECTION ? this.#atomAt(place, offset) : this.#atomAt(place, Number(symbol.value));
    return atom === undefined
      ? { symbol, offset: Number(relocation.addend) + bias, bias }
      : { symbol, atom, offset: offset - atom.start, bias };
  }

  /** The start of the instruction that an offset of a code section lies in. */
  instructionStart(section: Section, offset: number): number {
    return this.#code.startOf(section, offset);
  }

  #relocations(section: Section): readonly Relocation[] {
    const known = this.#sorted.get(section);
    if (known !== undefined) return known;
    const inOrder = section.relocations.every(
      ({ offset }, index) => index === 0 || offset >= (section.relocations[index - 1]?.offset ?? 0),
    );
    const sorted = inOrder ? section.relocations : [...section.relocations].sort((a, b) => a.offset - b.offset);
    this.#sorted.set(section, sorted);
    return sorted;
  }

  /** Branches and RIP-relative operands that the assembler resolved because both ends lie in one section. */
  #resolvedIn(part: Part, relocated: ReadonlySet<number>): Reference[] {
    const found: Reference[] = [];
    const { section } = part;
    const view = new DataView(section.data.buffer, section.data.byteOffset, section.data.byteLength);
    for (const { start, length, relative } of instructionsIn(section.data, part.start, part.end)) {
      if (relative === undefined || start + length > part.end) continue;
      const offset = start + relative.offset;
      if (relocated.has(offset)) continue;
      const distance = relative.width === 1 ? view.getInt8(offset) : view.getInt32(offset, true);
      const place = start + length + distance;
      if ((place >= part.start && place < part.end) || place < 0 || place >= section.size) continue;
      const atom = this.#atomAt(section, place);
      if (atom?.symbol === undefined) continue;
      const target = { symbol: atom.symbol, atom, offset: place - atom.start, bias: start + length - offset };
      found.push({ offset, width: relative.width, type: relative.branch ? R_X86_64_PLT32 : R_X86_64_PC32, target });
    }
    return found;
  }

  /** `undefined`: it depends on an instruction that cannot be decoded. */
  #biasOf(section: Section, { symbol, type, offset }: Relocation, place: Section | undefined): number | undefined {
    if ((section.flags & SHF_EXECINSTR) === 0 || !isPcRelative(type)) return 0;
    // Only what lies in an instruction behind the field can make it more than its own 4 bytes; only then, and only
    // among several things in one section, does it matter.
    if (place === undefined || symbol.type !== STT_SECTION || !this.#isShared(place)) return 4;
    if ((place.flags & SHF_EXECINSTR) !== 0) return 4;
    return this.#code.tail(section, offset);
  }

  #isShared(section: Section): boolean {
    return (
      (section.flags & SHF_STRINGS) !== 0 ||
      isPieceSection(section) ||
      (this.#atoms.get(section)?.length ?? Number.POSITIVE_INFINITY) > 1
    );
  }

  #atomAt(section: Section, offset: number): Atom | undefined {
    if ((offset < 0 || offset > section.size) && ((section.flags & SHF_STRINGS) !== 0 || isPieceSection(section))) {
      throw new BuilderError('object-unsupported', `something refers to ${section.name}+${offset}, outside of it`);
    }
    if ((section.flags & SHF_STRINGS) !== 0) return this.#stringAt(section, offset);
    const atoms = this.#atoms.get(section) ?? [];
    // One past the end is still this section's last atom: loops end there.
    return atoms[
      Math.max(
        0,
        lastAtMost(atoms.length, offset, (index) => atoms[index]?.start ?? 0),
      )
    ];
  }

  /** A replacement without bytes lies where that of another function begins, or behind all. */
  #nothingAt(section: Section, offset: number): Atom {
    const id = `${section.index}:${offset}`;
    const known = this.#loose.get(id);
    const atom: Atom = known ?? { kind: 'anonymous', section, start: offset, end: offset, aliases: [], key: '' };
    this.#loose.set(id, atom);
    return atom;
  }

  #stringAt(section: Section, offset: number): Atom {
    const id = `${section.index}:${offset}`;
    const known = this.#loose.get(id);
    if (known !== undefined) return known;
    const end = section.data.indexOf(0, offset);
    const atom: Atom = {
      kind: 'string',
      section,
      start: offset,
      end: end === -1 ? section.size : end + 1,
      aliases: [],
      key: '',
    };
    this.#loose.set(id, atom);
    return atom;
  }

  #codeEntries(section: Section): number[] {
    const starts = new Set((this.#naming.get(section) ?? []).map(({ value }) => Number(value)));
    return [...starts].filter((start) => start > 0 && start < section.size).sort((a, b) => a - b);
  }

  /** Places in a section that something in the object refers to. */
  #marksOf(section: Section): ReadonlySet<number> {
    this.#marks ??= this.#findMarks();
    return this.#marks.get(section) ?? new Set();
  }

  #findMarks(): Map<Section, Set<number>> {
    const marks = new Map<Section, Set<number>>();
    for (const from of this.file.sections) {
      if ((from.flags & SHF_ALLOC) === 0 || isByProduct(from.name)) continue;
      for (const relocation of from.relocations) {
        const place = sectionOf(relocation.symbol);
        if (place === undefined || (place.flags & SHF_STRINGS) !== 0) continue;
        const { symbol, addend } = relocation;
        const isSection = symbol.type === STT_SECTION;
        const bias = isSection ? this.#biasOf(from, relocation, place) : 0;
        if (bias === undefined) continue;
        const offset = Number(symbol.value) + (isSection ? Number(addend) + bias : 0);
        // What refers to its own section is in the midst of it; but for records of UBSAN, which share the descriptions
        // of types.
        if (place === from && !isTypeDescriptor(place, offset)) continue;
        const known = marks.get(place);
        if (known === undefined) marks.set(place, new Set([offset]));
        else known.add(offset);
      }
    }
    return marks;
  }

  #indexSymbols(): void {
    for (const symbol of this.file.symbols) {
      const section = sectionOf(symbol);
      if (section === undefined) continue;
      if (isPrefixSymbol(symbol.name)) push(this.#prefixes, section, symbol);
      if (!isNaming(symbol, section)) continue;
      push(this.#naming, section, symbol);
    }
  }

  #splitSections(): void {
    const naming = [...this.#naming.values()].flat();
    const counts = new Map<string, number>();
    for (const { name } of naming) counts.set(stem(name), (counts.get(stem(name)) ?? 0) + 1);
    const given = new Map<string, number>();
    const keys = new Map<ElfSymbol, string>();
    for (const symbol of naming) {
      const base = stem(symbol.name);
      const position = given.get(base) ?? 0;
      given.set(base, position + 1);
      keys.set(symbol, (counts.get(base) ?? 0) > 1 ? `${base}#${position}` : base);
    }
    for (const section of this.file.sections) {
      if ((section.flags & SHF_ALLOC) === 0 || isByProduct(section.name)) continue;
      if ((section.flags & SHF_STRINGS) !== 0 || this.tables.has(section.name)) continue;
      const symbols = this.#naming.get(section) ?? [];
      // Whole variables and functions in sections of their own need no marks.
      const [only] = symbols;
      const isWhole = symbols.length === 1 && only?.size === section.size;
      const marks = isWhole ? new Set<number>() : this.#marksOf(section);
      const prefixes = this.#prefixes.get(section) ?? [];
      const atoms = splitSection(section, symbols, prefixes, marks, (symbol) => keys.get(symbol) ?? symbol.name);
      this.#atoms.set(section, atoms);
    }
    this.#placeCommon();
  }

  /** Uninitialised variables that only the final link would place (-fcommon): each as if in a section of its own. */
  #placeCommon(): void {
    for (const symbol of this.file.symbols) {
      if (symbol.place !== SHN_COMMON) continue;
      const section: Section = {
        name: 'COMMON',
        type: SHT_NOBITS,
        flags: SHF_ALLOC | SHF_WRITE,
        address: 0n,
        align: Number(symbol.value),
        entrySize: 0,
        data: new Uint8Array(0),
        size: symbol.size,
        relocations: [],
      };
      const atom: Atom = { kind: 'data', section, start: 0, end: symbol.size, symbol, aliases: [], key: symbol.name };
      this.#common.set(symbol, atom);
    }
  }

  #assignEntries(): void {
    for (const section of this.file.sections) {
      const table = this.tables.get(section.name);
      if (table === undefined) continue;
      const { entrySize, meaningful } = table;
      if (section.data.length !== section.size)
        throw new BuilderError('object-unsupported', `${section.name} is a table without content`);
      for (let start = 0; start < section.size; start += entrySize) {
        const part = { section, start, end: Math.min(section.size, start + entrySize) };
        const first = this.relocationsIn(part)[0];
        if (first === undefined) continue;
        const owner = this.#ownerOf(section, first);
        if (owner === undefined) continue;
        const index = this.entriesOf(owner).filter((other) => other.section === section).length;
        const entry: Entry = { ...part, meaningful, index };
        push(this.#entries, owner, entry);
        this.#entryAt.set(`${section.index}:${start}`, entry);
      }
    }
  }

  /** The entry of a table that a place lies in. */
  #entryOf(section: Section, offset: number): Entry | undefined {
    const size = this.tables.get(section.name)?.entrySize;
    return size === undefined ? undefined : this.#entryAt.get(`${section.index}:${offset - (offset % size)}`);
  }

  /** The function an entry's first address lies in; out-of-line code is given to the function it jumps back to. */
  #ownerOf(section: Section, relocation: Relocation): Atom | undefined {
    const { atom } = this.targetOf(section, relocation);
    if (atom === undefined || atom.kind === 'function') return atom;
    if (!isPieceSection(atom.section)) return undefined;
    for (const inside of this.relocationsIn(atom)) {
      const back = this.targetOf(atom.section, inside).atom;
      if (back?.kind === 'function') return back;
    }
    return undefined;
  }
}

function push<Key, Value>(lists: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
