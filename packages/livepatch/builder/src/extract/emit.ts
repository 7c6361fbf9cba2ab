import {
  type ElfFile,
  type ElfSymbol,
  ET_REL,
  R_X86_64_PC32,
  R_X86_64_PLT32,
  type Section,
  SHF_EXECINSTR,
  SHF_GROUP,
  SHF_LINK_ORDER,
  SHN_UNDEF,
  SHT_NOBITS,
  SHT_PROGBITS,
  STB_GLOBAL,
  STB_LOCAL,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
  STT_SECTION,
} from '@kmend/elf';
import type { DeclaredCallbacks, Phase } from '../author/callbacks.ts';
import type { Change } from '../compare/compare.ts';
import { isPerCpu } from '../compare/rules.ts';
import { BuilderError } from '../error.ts';
import type { Atom } from '../object/atom.ts';
import { isPrefixSymbol } from '../object/names.ts';
import { readVariable, runtimeConstant } from '../object/runtime-constant.ts';
import type { Entry, ObjectView } from '../object/view.ts';
import { DeadEnds } from './dead-ends.ts';
import { destinationOf, newGlobals, type Selection } from './extract.ts';

/** A function of the livepatch and the one it replaces. */
export interface Replacement {
  /** Name in the original object. */
  readonly originalName: string;
  /** A global symbol of the extracted object, at the new code; removed again from the finished module. */
  readonly alias: string;
}

/** Callbacks of a fix, as a `struct kmend_callbacks` of the livepatch. */
export interface EmittedCallbacks {
  readonly name: string;
  readonly phases: readonly Phase[];
  /** A global symbol of the extracted object, at the struct; removed again from the finished module. */
  readonly alias: string;
}

/** A symbol that the extracted object takes from the running kernel, undefined in it. */
export interface Need {
  readonly name: string;
  /** The atom of the original object that it is; absent for what the unit does not define. */
  readonly original?: Atom;
}

export interface Extracted {
  readonly file: ElfFile;
  readonly replacements: readonly Replacement[];
  readonly callbacks: readonly EmittedCallbacks[];
  readonly needs: readonly Need[];
  /** New global symbols, global in the extracted object too. */
  readonly provides: string[];
}

/**
 * include/linux/compiler.h, annotate_unreachable(): addresses behind instructions after which nothing runs; the linker
 * drops them.
 */
const UNREACHABLE = '.discard.unreachable';
const UNREACHABLE_SIZE = 4;

/** Bytes of one gathered section: strings, constants and table entries of a fix come to some kilobytes. */
const LARGEST_SHARED = 64 << 20;

interface Place {
  readonly section: Section;
  readonly offset: number;
  readonly symbol: ElfSymbol;
}

/**
 * Writes the selected parts as an object of their own: plain names, what stays in the kernel undefined, ready for
 * objtool.
 */
export function emit(
  view: ObjectView,
  change: Change,
  selection: Selection,
  aliasPrefix: string,
  callbacks: readonly DeclaredCallbacks[] = [],
): Extracted {
  return new Emitter(view, change, aliasPrefix).run(selection, callbacks);
}

class Emitter {
  readonly #view: ObjectView;
  readonly #change: Change;
  readonly #aliasPrefix: string;
  readonly #file: ElfFile = { type: ET_REL, sections: [], symbols: [], livepatchRelocations: [], segments: [] };
  readonly #places = new Map<Atom | Entry, Place>();
  readonly #shared = new Map<Section, Section>();
  readonly #sectionSymbols = new Map<Section, ElfSymbol>();
  readonly #needs = new Map<string, { readonly need: Need; readonly symbol: ElfSymbol }>();

  constructor(view: ObjectView, change: Change, aliasPrefix: string) {
    this.#view = view;
    this.#change = change;
    this.#aliasPrefix = aliasPrefix;
  }

  run(selection: Selection, declared: readonly DeclaredCallbacks[]): Extracted {
    for (const atom of selection.atoms) this.#places.set(atom, this.#placeAtom(atom));
    const constants = selection.entries.filter(({ section }) => runtimeConstant(section) !== undefined);
    for (const entry of selection.entries)
      if (!constants.includes(entry)) this.#places.set(entry, this.#placeShared(entry));
    for (const part of this.#places.keys()) this.#relocate(part);
    for (const entry of constants) this.#readVariable(entry);
    this.#keepStaticCallKeys();
    this.#markDeadEnds();
    const replacements: Replacement[] = [];
    for (const [atom, counterpart] of this.#change.changed) {
      const place = this.#places.get(atom);
      const originalName = counterpart.symbol?.name;
      if (place === undefined || originalName === undefined) continue;
      const alias = `${this.#aliasPrefix}${replacements.length}`;
      this.#alias(alias, atom, place, STT_FUNC);
      replacements.push({ originalName, alias });
    }
    const callbacks: EmittedCallbacks[] = [];
    for (const { name, phases, atom } of declared) {
      const place = this.#places.get(atom);
      if (place === undefined) continue;
      const alias = `${this.#aliasPrefix}c${callbacks.length}`;
      this.#alias(alias, atom, place, STT_OBJECT);
      callbacks.push({ name, phases, alias });
    }
    // The gABI wants local symbols first.
    this.#file.symbols.sort((a, b) => Number(a.bind !== STB_LOCAL) - Number(b.bind !== STB_LOCAL));
    return {
      file: this.#file,
      replacements,
      callbacks,
      needs: [...this.#needs.values()].map(({ need }) => need),
      provides: newGlobals(this.#change).map((atom) => atom.symbol?.name ?? ''),
    };
  }

  #alias(name: string, atom: Atom, { section, offset }: Place, type: number): void {
    const size = atom.end - atom.start;
    const value = BigInt(offset);
    this.#file.symbols.push({ name, value, size, bind: STB_GLOBAL, type, other: 0, place: section });
  }

  #placeAtom(atom: Atom): Place {
    if (atom.symbol === undefined) return this.#placeShared(atom);
    const lead = leadOf(this.#view, atom);
    const section = this.#newSection(atom.section, { start: atom.start - lead, end: atom.end });
    const type = atom.kind === 'function' ? STT_FUNC : STT_OBJECT;
    const size = atom.end - atom.start;
    const symbol: ElfSymbol = {
      name: atom.symbol.name,
      value: BigInt(lead),
      size,
      // Others of the livepatch may refer to a new global; in the finished module it is local again.
      bind: this.#change.added.has(atom) ? atom.symbol.bind : STB_LOCAL,
      type,
      other: 0,
      place: section,
    };
    this.#file.symbols.push(symbol);
    for (const prefix of prefixesOf(this.#view, atom)) {
      const value = prefix.value - BigInt(atom.start - lead);
      this.#file.symbols.push({ ...prefix, value, bind: STB_LOCAL, place: section });
    }
    return { section, offset: lead, symbol };
  }

  #newSection(from: Section, part: { readonly start: number; readonly end: number } | undefined): Section {
    // A copy, which is written to: `slice()` of a Buffer is none.
    const isEmpty = part === undefined || from.type === SHT_NOBITS;
    const data = new Uint8Array(isEmpty ? [] : from.data.subarray(part.start, part.end));
    const section: Section = {
      // The loader of modules knows per-cpu data by this one name (kernel/module/main.c, find_pcpusec).
      name: isPerCpu(from) ? '.data..percpu' : from.name,
      type: from.type,
      flags: from.flags & ~(SHF_GROUP | SHF_LINK_ORDER),
      address: 0n,
      align: from.align,
      entrySize: from.entrySize,
      data,
      size: part === undefined ? 0 : part.end - part.start,
      relocations: [],
    };
    this.#file.sections.push(section);
    return section;
  }

  /** Strings, constants, pieces and entries: gathered in one section of the same name, each aligned as it was. */
  #placeShared(part: Atom | Entry): Place {
    let section = this.#shared.get(part.section);
    if (section === undefined) {
      section = this.#newSection(part.section, undefined);
      this.#shared.set(part.section, section);
    }
    const offset = append(section, part.section.data.subarray(part.start, part.end), partAlign(part));
    return { section, offset, symbol: this.#sectionSymbol(section) };
  }

  #sectionSymbol(section: Section): ElfSymbol {
    const known = this.#sectionSymbols.get(section);
    if (known !== undefined) return known;
    const symbol: ElfSymbol = {
      name: '',
      value: 0n,
      size: 0,
      bind: STB_LOCAL,
      type: STT_SECTION,
      other: 0,
      place: section,
    };
    this.#sectionSymbols.set(section, symbol);
    this.#file.symbols.push(symbol);
    return symbol;
  }

  #relocate(part: Atom | Entry): void {
    const place = this.#places.get(part);
    if (place === undefined) return;
    for (const reference of this.#view.referencesIn(part)) {
      const { kind, target } = destinationOf(this.#change, part, reference);
      const offset = place.offset + reference.offset - part.start;
      const meant = target.entry ?? (kind === 'own' ? target.atom : undefined);
      const own = meant === undefined ? undefined : this.#places.get(meant);
      // As the assembler does, and objtool expects: calls by the function's symbol, all other code by its section's.
      const bySection =
        own !== undefined && (own.section.flags & SHF_EXECINSTR) !== 0 && reference.type !== R_X86_64_PLT32;
      const symbol = bySection
        ? this.#sectionSymbol(own.section)
        : (own?.symbol ?? this.#need(target.symbol, target.atom));
      // A function's own symbol lies behind the padding in front of it.
      const within = own === undefined ? 0 : own.offset - Number(symbol.value);
      const addend = BigInt(target.offset + within - target.bias);
      place.section.relocations.push({ offset, type: reference.type, symbol, addend });
      // The assembler has filled in calls inside one section (`rt_mutex_adjust_prio_chain` from `remove_waiter`, both
      // .sched.text); the kernel takes a field that is not zero for one that was relocated before
      // (arch/x86/kernel/module.c, __apply_relocate_add).
      place.section.data.fill(0, offset, offset + reference.width);
    }
  }

  /** Nothing writes constants into the code of a module: it reads the variable that the kernel takes them from. */
  #readVariable(entry: Entry): void {
    const constant = runtimeConstant(entry.section);
    const [operand] = this.#view.referencesIn(entry);
    const owner = operand?.target.atom;
    const place = owner === undefined ? undefined : this.#places.get(owner);
    if (constant === undefined || operand === undefined || place === undefined) return;
    const offset = readVariable(place.section.data, place.offset + operand.target.offset);
    if (offset === undefined)
      throw new BuilderError(
        'object-unsupported',
        `no instruction reads ${constant.name} in ${entry.section.name}; report it`,
      );
    const atom = this.#view.atoms.find((one) => one.kind === 'data' && one.symbol?.name === constant.name);
    const symbol = atom?.symbol ?? undefinedSymbol(constant.name, STT_OBJECT);
    // Counted from the end of the instruction, which the four bytes end.
    place.section.relocations.push({ offset, type: R_X86_64_PC32, symbol: this.#need(symbol, atom), addend: -4n });
  }

  #need(symbol: ElfSymbol, atom: Atom | undefined): ElfSymbol {
    const original = atom === undefined ? undefined : this.#change.same.get(atom);
    const name = original?.symbol?.name ?? atom?.symbol?.name ?? symbol.name;
    const known = this.#needs.get(name);
    if (known !== undefined) return known.symbol;
    const type = atom === undefined ? STT_NOTYPE : atom.kind === 'function' ? STT_FUNC : STT_OBJECT;
    const needed = undefinedSymbol(name, type);
    this.#file.symbols.push(needed);
    this.#needs.set(name, { need: original === undefined ? { name } : { name, original }, symbol: needed });
    return needed;
  }

  /**
   * objtool pairs each call of a static-call trampoline with its key, by name, if the object mentions the key
   * (include/linux/static_call.h, STATIC_CALL_ADDRESSABLE); without it a module would ask for a key that is exported.
   */
  #keepStaticCallKeys(): void {
    for (const name of [...this.#needs.keys()]) {
      if (!name.startsWith('__SCT__')) continue;
      const key = `__SCK__${name.slice('__SCT__'.length)}`;
      const symbol = this.#view.file.symbols.find((candidate) => candidate.name === key);
      if (symbol !== undefined)
        this.#need(
          symbol,
          this.#view.atoms.find((atom) => atom.symbol === symbol),
        );
    }
  }

  /**
   * Tells objtool where a call does not return, as the macro unreachable() does: it finds that out in the code of the
   * function that is called, and that may stay in the kernel. It would go on behind the call, and leave the code that
   * really lies there without an entry for the unwinder.
   */
  #markDeadEnds(): void {
    const deadEnds = new DeadEnds(this.#view);
    for (const [part, place] of [...this.#places]) {
      for (const end of deadEnds.callsIn(part)) {
        const offset = append(this.#unreachable(), new Uint8Array(UNREACHABLE_SIZE), 1);
        const addend = BigInt(place.offset + end - part.start);
        const symbol = this.#sectionSymbol(place.section);
        this.#unreachable().relocations.push({ offset, type: R_X86_64_PC32, symbol, addend });
      }
    }
  }

  #unreachable(): Section {
    const known = this.#file.sections.find(({ name }) => name === UNREACHABLE);
    if (known !== undefined) return known;
    const section: Section = {
      name: UNREACHABLE,
      type: SHT_PROGBITS,
      flags: 0,
      address: 0n,
      align: 1,
      entrySize: 0,
      data: new Uint8Array(0),
      size: 0,
      relocations: [],
    };
    this.#file.sections.push(section);
    return section;
  }
}

function undefinedSymbol(name: string, type: number): ElfSymbol {
  return { name, value: 0n, size: 0, bind: STB_GLOBAL, type, other: 0, place: SHN_UNDEF };
}

/** Adds bytes at the end of a gathered section; the offset where they lie. */
function append(section: Section, bytes: Uint8Array, align: number): number {
  const offset = Math.ceil(section.size / align) * align;
  if (offset > LARGEST_SHARED) {
    throw new BuilderError('object-unsupported', `what is extracted of ${section.name} comes to ${offset} bytes`);
  }
  const data = new Uint8Array(offset + bytes.length);
  data.set(section.data);
  data.set(bytes, offset);
  section.data = data;
  section.size = data.length;
  return offset;
}

/**
 * Bytes in front of a function that belong to it: what `-fpatchable-function-entry=N,N` leaves free there for the
 * kernel to patch (arch/x86/kernel/callthunks.c, alternative.c), or a type hash.
 */
function leadOf(view: ObjectView, atom: Atom): number {
  if (atom.kind !== 'function') return 0;
  let start = atom.start;
  for (const { value } of prefixesOf(view, atom)) start = Math.min(start, Number(value));
  for (const entry of view.entriesOf(atom)) {
    if (entry.section.name !== '__patchable_function_entries') continue;
    for (const relocation of view.relocationsIn(entry))
      start = Math.min(start, atom.start + view.targetOf(entry.section, relocation).offset);
  }
  return atom.start - start;
}

/** Symbols at what lies in front of a function (`__pfx_`, `__cfi_`). */
function prefixesOf(view: ObjectView, { section, symbol }: Atom): ElfSymbol[] {
  return view.file.symbols.filter(
    ({ name, place }) => place === section && isPrefixSymbol(name) && name.slice('__pfx_'.length) === symbol?.name,
  );
}

function partAlign(part: Atom | Entry): number {
  if ((part.section.flags & SHF_EXECINSTR) !== 0 || !('kind' in part) || part.kind === 'string') return 1;
  return Math.max(1, part.section.align);
}
