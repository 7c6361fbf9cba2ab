import {
  type ElfFile,
  type ElfSymbol,
  isPcRelative,
  type Relocation,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_MERGE,
  SHF_STRINGS,
  STT_FUNC,
  STT_OBJECT,
  STT_SECTION,
  sectionOf,
} from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import { BuilderError } from '../error.ts';
import { stem } from './names.ts';
import { isPieceSection, tableSpec } from './tables.ts';

/** The smallest part of an object that is kept or left as a whole: a function, a variable, a string, a nameless constant. */
export interface Atom {
  readonly kind: 'function' | 'data' | 'string' | 'anonymous';
  readonly section: Section;
  readonly start: number;
  readonly end: number;
  readonly symbol?: ElfSymbol;
  /**
   * What two compilations of a unit call the same: the name without compiler-given numbers, with its position where several
   * share it. Empty for what has no name.
   */
  readonly key: string;
}

/** An entry of a table section, with the relocations in it. */
export interface Entry {
  readonly section: Section;
  readonly start: number;
  readonly end: number;
  readonly meaningful: boolean;
}

/** What a relocation points at. */
export interface Target {
  readonly symbol: ElfSymbol;
  /** Absent for what the object does not define. */
  readonly atom?: Atom;
  /** From the atom's start, or from the symbol; the place meant, not the addend. */
  readonly offset: number;
  /** What the psABI's formula counts from the end of the field to the place meant: 4 for a relative field in code. */
  readonly bias: number;
}

/** Length of the rest of an instruction behind the start of a field in it. */
export type Tail = (section: Section, fieldOffset: number) => number | undefined;

/** An object file as atoms, entries and targets. */
export class ObjectView {
  readonly file: ElfFile;
  readonly #layouts: ReadonlyMap<string, StructLayout>;
  readonly #tail: Tail;
  readonly #atoms = new Map<Section, Atom[]>();
  readonly #loose = new Map<string, Atom>();
  readonly #entries = new Map<Atom, Entry[]>();
  readonly #byKey = new Map<string, Atom>();
  /** How many symbols share a stem: a key with a position means the same in two objects only where these agree. */
  readonly stemCounts = new Map<string, number>();

  constructor(file: ElfFile, layouts: ReadonlyMap<string, StructLayout>, tail: Tail) {
    this.file = file;
    this.#layouts = layouts;
    this.#tail = tail;
    this.#splitSections();
    this.#assignEntries();
  }

  get atoms(): Atom[] {
    return [...this.#atoms.values()].flat();
  }

  get functions(): Atom[] {
    return this.atoms.filter((atom) => atom.kind === 'function');
  }

  byKey(key: string): Atom | undefined {
    return this.#byKey.get(key);
  }

  /** Table entries that belong to a function. */
  entriesOf(atom: Atom): readonly Entry[] {
    return this.#entries.get(atom) ?? [];
  }

  relocationsIn(part: { readonly section: Section; readonly start: number; readonly end: number }): Relocation[] {
    return part.section.relocations.filter(({ offset }) => offset >= part.start && offset < part.end);
  }

  targetOf(section: Section, relocation: Relocation): Target {
    const { symbol } = relocation;
    const inCode = (section.flags & SHF_EXECINSTR) !== 0;
    const relative = isPcRelative(relocation.type);
    const place = sectionOf(symbol);
    const shared = place !== undefined && symbol.type === STT_SECTION && this.#isShared(place);
    let bias = relative && inCode ? 4 : 0;
    if (relative && inCode && shared && (place.flags & SHF_EXECINSTR) === 0) {
      const tail = this.#tail(section, relocation.offset);
      if (tail === undefined) {
        throw new BuilderError(
          'object-unsupported',
          `the instruction at ${section.name}+${relocation.offset} is not understood`,
        );
      }
      bias = tail;
    }
    if (place === undefined) return { symbol, offset: Number(relocation.addend) + bias, bias };
    const offset = Number(symbol.value + relocation.addend) + bias;
    // A named symbol says what is meant even where the addend points beside it.
    const atom = symbol.type === STT_SECTION ? this.#atomAt(place, offset) : this.#atomAt(place, Number(symbol.value));
    return atom === undefined
      ? { symbol, offset: Number(relocation.addend) + bias, bias }
      : { symbol, atom, offset: offset - atom.start, bias };
  }

  #isShared(section: Section): boolean {
    return (
      (section.flags & SHF_STRINGS) !== 0 || isPieceSection(section) || (this.#atoms.get(section)?.length ?? 0) > 1
    );
  }

  #atomAt(section: Section, offset: number): Atom | undefined {
    if ((offset < 0 || offset > section.size) && ((section.flags & SHF_STRINGS) !== 0 || isPieceSection(section))) {
      throw new BuilderError('object-unsupported', `something refers to ${section.name}+${offset}, outside of it`);
    }
    if ((section.flags & SHF_STRINGS) !== 0) return this.#stringAt(section, offset);
    if (isPieceSection(section)) return this.#pieceAt(section, offset);
    const atoms = this.#atoms.get(section) ?? [];
    // One past the end is still this section's last atom: loops end there.
    return (
      atoms.find(({ start, end }) => offset >= start && offset < end) ??
      atoms.findLast(({ start }) => offset >= start) ??
      atoms[0]
    );
  }

  #stringAt(section: Section, offset: number): Atom {
    const end = section.data.indexOf(0, offset);
    return this.#looseAtom('string', section, offset, end === -1 ? section.size : end + 1);
  }

  #pieceAt(section: Section, offset: number): Atom {
    const starts = this.#pieceStarts(section);
    const start = starts.findLast((candidate) => candidate <= offset) ?? 0;
    const end = starts.find((candidate) => candidate > start) ?? section.size;
    return this.#looseAtom('anonymous', section, start, end);
  }

  readonly #starts = new Map<Section, number[]>();

  #pieceStarts(section: Section): number[] {
    const known = this.#starts.get(section);
    if (known !== undefined) return known;
    const starts = new Set<number>([0]);
    for (const from of this.file.sections) {
      if ((from.flags & SHF_ALLOC) === 0 || from === section) continue;
      const bias = (from.flags & SHF_EXECINSTR) === 0 ? 0 : 4;
      for (const { symbol, addend, type } of from.relocations) {
        if (symbol.place === section) starts.add(Number(symbol.value + addend) + (isPcRelative(type) ? bias : 0));
      }
    }
    const sorted = [...starts].sort((a, b) => a - b);
    this.#starts.set(section, sorted);
    return sorted;
  }

  #looseAtom(kind: 'string' | 'anonymous', section: Section, start: number, end: number): Atom {
    const id = `${section.index}:${start}`;
    const known = this.#loose.get(id);
    if (known !== undefined) return known;
    const atom: Atom = { kind, section, start, end, key: '' };
    this.#loose.set(id, atom);
    return atom;
  }

  #splitSections(): void {
    const named = new Map<Section, ElfSymbol[]>();
    for (const symbol of this.file.symbols) {
      const section = sectionOf(symbol);
      if (section === undefined || (symbol.type !== STT_FUNC && symbol.type !== STT_OBJECT)) continue;
      const list = named.get(section) ?? [];
      list.push(symbol);
      named.set(section, list);
      const base = stem(symbol.name);
      this.stemCounts.set(base, (this.stemCounts.get(base) ?? 0) + 1);
    }
    const given = new Map<string, number>();
    const keys = new Map<ElfSymbol, string>();
    for (const symbol of [...named.values()].flat()) {
      const base = stem(symbol.name);
      const position = given.get(base) ?? 0;
      given.set(base, position + 1);
      keys.set(symbol, (this.stemCounts.get(base) ?? 0) > 1 ? `${base}#${position}` : base);
    }
    for (const section of this.file.sections) {
      if ((section.flags & SHF_ALLOC) === 0) continue;
      if ((section.flags & SHF_STRINGS) !== 0 || isPieceSection(section)) continue;
      if (tableSpec(section, this.#layouts) !== undefined) continue;
      this.#atoms.set(section, this.#splitOne(section, named.get(section) ?? [], keys));
    }
  }

  #splitOne(section: Section, symbols: readonly ElfSymbol[], keys: ReadonlyMap<ElfSymbol, string>): Atom[] {
    const atoms: Atom[] = [];
    let position = 0;
    const gap = (start: number, end: number): void => {
      if (end > start) atoms.push({ kind: 'anonymous', section, start, end, key: '' });
    };
    const sorted = [...symbols].sort((a, b) => Number(a.value - b.value) || Number(b.size - a.size));
    const isConstants =
      (section.flags & SHF_MERGE) !== 0 && section.entrySize > 0 && section.data.length === section.size;
    for (const symbol of sorted) {
      const start = Number(symbol.value);
      const end = start + Number(symbol.size);
      // An alias, or a symbol inside another: the first one stands for both.
      if (start < position || end === start) continue;
      gap(position, start);
      const kind = symbol.type === STT_FUNC ? 'function' : 'data';
      const atom: Atom = { kind, section, start, end, symbol, key: keys.get(symbol) ?? symbol.name };
      atoms.push(atom);
      this.#byKey.set(atom.key, atom);
      position = end;
    }
    if (isConstants && symbols.length === 0) {
      for (let start = 0; start < section.size; start += section.entrySize) {
        gap(start, Math.min(section.size, start + section.entrySize));
      }
    } else {
      gap(position, section.size);
    }
    // Something without a size, such as a lock class key without lockdep: only its address is used.
    if (atoms.length === 0 && section.size === 0) atoms.push({ kind: 'anonymous', section, start: 0, end: 0, key: '' });
    return atoms;
  }

  #assignEntries(): void {
    for (const section of this.file.sections) {
      const spec = tableSpec(section, this.#layouts);
      if (spec === undefined) continue;
      if (section.size % spec.entrySize !== 0 || section.data.length !== section.size) {
        throw new BuilderError(
          'object-unsupported',
          `${section.name} has ${section.size} bytes, not entries of ${spec.entrySize}`,
        );
      }
      for (let start = 0; start < section.size; start += spec.entrySize) {
        const entry: Entry = { section, start, end: start + spec.entrySize, meaningful: spec.meaningful };
        const first = this.relocationsIn(entry)[0];
        if (first === undefined) continue;
        const owner = this.#ownerOf(section, first);
        if (owner === undefined) continue;
        const list = this.#entries.get(owner) ?? [];
        list.push(entry);
        this.#entries.set(owner, list);
      }
    }
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
