import {
  type ElfFile,
  type ElfSymbol,
  isPcRelative,
  relocationSize,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_UNDEF,
  STB_LOCAL,
  STT_FILE,
  STT_FUNC,
  STT_OBJECT,
  STT_SECTION,
  sectionOf,
} from '@kmend/elf';
import { type Address, lastNotAbove } from './address.ts';

/** The symbol at an address of the shipped kernel. */
export interface Located {
  readonly object: string;
  /** All names at the start. */
  readonly names: readonly string[];
  readonly start: Address;
  /** First address behind it. */
  readonly end: Address;
  readonly isCode: boolean;
  readonly isWritable: boolean;
  readonly isLocal: boolean;
  /** Gone when the kernel or the module is up. */
  readonly isInit: boolean;
}

export interface Placed {
  readonly section: Section;
  readonly base: Address;
}

/** Where symbols lie that another object has. */
export type ExportedAt = (name: string) => Address | undefined;

/** Where a module is loaded. */
export interface ModulePlace {
  readonly start: Address;
  /** Of its per-cpu data. */
  readonly percpu: Address;
}

/** A shipped module as it is in memory after it was loaded at some address. */
export class ShippedModule {
  readonly name: string;
  readonly file: ElfFile;
  /** Modules that are loaded before it: modpost's `depends=`. */
  readonly depends: readonly string[];
  readonly end: Address;
  readonly #bases = new Map<Section, Address>();
  readonly #placed: Placed[] = [];
  readonly #exported: ExportedAt;
  readonly #images = new Map<Section, Uint8Array>();
  #names: ReadonlyMap<string, readonly ElfSymbol[]> | undefined;
  #starts: { readonly addresses: number[]; readonly symbols: ElfSymbol[][] } | undefined;

  constructor(name: string, file: ElfFile, { start, percpu }: ModulePlace, exported: ExportedAt) {
    this.name = name;
    this.file = file;
    this.#exported = exported;
    this.depends = modinfo(file, 'depends').flatMap((text) => text.split(',').filter((word) => word !== ''));
    let at = start;
    for (const section of file.sections) {
      if ((section.flags & SHF_ALLOC) === 0) continue;
      const isPercpu = section.name === '.data..percpu';
      const align = Math.max(16, section.align);
      at = Math.ceil(at / align) * align;
      const base = isPercpu ? percpu : at;
      this.#bases.set(section, base);
      this.#placed.push({ section, base });
      // A gap, so that one past the end belongs to no section.
      if (!isPercpu) at += section.size + 16;
    }
    this.end = Math.ceil(at / 4096) * 4096;
  }

  addressOf(symbol: ElfSymbol): Address | undefined {
    const section = sectionOf(symbol);
    if (section === undefined) return symbol.place === SHN_UNDEF ? this.#exported(symbol.name) : Number(symbol.value);
    const base = this.#bases.get(section);
    return base === undefined ? undefined : base + Number(symbol.value);
  }

  /**
   * Addresses of all symbols of a name in the order of the symbol table, which `sympos` counts in: while the module
   * comes up all of them, later those alone that stay (kernel/module/kallsyms.c: is_core_symbol).
   */
  named(name: string, phase: 'coming' | 'live'): Address[] {
    return (this.#byName().get(name) ?? [])
      .filter((symbol) => phase === 'coming' || (isKept(sectionOf(symbol)) && symbol.name !== ''))
      .map((symbol) => this.addressOf(symbol) ?? 0);
  }

  place(address: Address): Placed | undefined {
    return this.#placed.find(({ section, base }) => address >= base && address < base + section.size);
  }

  locate(address: Address): Located | undefined {
    const placed = this.place(address);
    if (placed === undefined) return undefined;
    const { section, base } = placed;
    const { addresses, symbols } = this.#index();
    const index = lastNotAbove(addresses, address);
    const found = symbols[index] ?? [];
    const own = found.filter((symbol) => sectionOf(symbol) === section);
    const next = addresses[index + 1] ?? Number.POSITIVE_INFINITY;
    const sectionEnd = base + section.size;
    const start = own.length > 0 ? (addresses[index] ?? base) : base;
    const sizes = own.map(({ size }) => size);
    const end = own.length > 0 && Math.max(...sizes) > 0 ? start + Math.max(...sizes) : Math.min(next, sectionEnd);
    return {
      object: this.name,
      names: own.map((symbol) => symbol.name),
      start,
      end: Math.max(end, Math.min(start + 1, sectionEnd)),
      isCode: (section.flags & SHF_EXECINSTR) !== 0,
      isWritable: (section.flags & SHF_WRITE) !== 0,
      isLocal: own.every(({ bind }) => bind === STB_LOCAL),
      isInit: section.name.startsWith('.init'),
    };
  }

  /** Bytes in memory, relocated. */
  read(address: Address, size: number): Uint8Array | undefined {
    const placed = this.place(address);
    if (placed === undefined || placed.section.data.length === 0) return undefined;
    const from = address - placed.base;
    if (from + size > placed.section.data.length) return undefined;
    return this.#image(placed.section, placed.base).subarray(from, from + size);
  }

  /** Sections by name, with where they lie. */
  sections(name: string): Placed[] {
    return this.#placed.filter(({ section }) => section.name === name);
  }

  /** Defined symbols by name, in the order of the table. */
  #byName(): ReadonlyMap<string, readonly ElfSymbol[]> {
    if (this.#names !== undefined) return this.#names;
    const names = new Map<string, ElfSymbol[]>();
    for (const symbol of this.file.symbols) {
      if (symbol.place === SHN_UNDEF) continue;
      const there = names.get(symbol.name);
      if (there === undefined) names.set(symbol.name, [symbol]);
      else there.push(symbol);
    }
    this.#names = names;
    return names;
  }

  #image(section: Section, base: Address): Uint8Array {
    const known = this.#images.get(section);
    if (known !== undefined) return known;
    const image = Uint8Array.from(section.data);
    const view = new DataView(image.buffer);
    for (const { offset, type, symbol, addend } of section.relocations) {
      const target = this.addressOf(symbol);
      const size = relocationSize(type);
      if (target === undefined || size === undefined || size === 0) continue;
      const value = target + Number(addend) - (isPcRelative(type) ? base + offset : 0);
      if (size === 8) view.setBigInt64(offset, BigInt(value), true);
      else view.setInt32(offset, value, true);
    }
    this.#images.set(section, image);
    return image;
  }

  #index(): { readonly addresses: number[]; readonly symbols: ElfSymbol[][] } {
    if (this.#starts !== undefined) return this.#starts;
    const byAddress = new Map<Address, ElfSymbol[]>();
    for (const symbol of this.file.symbols) {
      if (
        symbol.type === STT_SECTION ||
        symbol.type === STT_FILE ||
        symbol.name === '' ||
        sectionOf(symbol) === undefined
      )
        continue;
      const address = this.addressOf(symbol);
      if (address === undefined) continue;
      const there = byAddress.get(address);
      if (there === undefined) byAddress.set(address, [symbol]);
      else there.push(symbol);
    }
    const addresses = [...byAddress.keys()].sort((a, b) => a - b);
    this.#starts = { addresses, symbols: addresses.map((address) => byAddress.get(address) ?? []) };
    return this.#starts;
  }

  /** Names of its static variables, each there once. */
  staticVariables(): string[] {
    const isStatic = (symbol: ElfSymbol): boolean => symbol.type === STT_OBJECT && symbol.bind === STB_LOCAL;
    const found = this.file.symbols.filter((symbol) => isStatic(symbol) && isKept(sectionOf(symbol)));
    return found.map(({ name }) => name).filter((name, _, all) => all.indexOf(name) === all.lastIndexOf(name));
  }

  /** Functions of the module by address. */
  functions(): { readonly name: string; readonly address: Address; readonly size: number }[] {
    return this.file.symbols
      .filter((symbol) => symbol.type === STT_FUNC && symbol.size > 0 && sectionOf(symbol) !== undefined)
      .map((symbol) => ({ name: symbol.name, address: this.addressOf(symbol) ?? 0, size: symbol.size }))
      .sort((a, b) => a.address - b.address);
  }
}

function isKept(section: Section | undefined): boolean {
  return section !== undefined && (section.flags & SHF_ALLOC) !== 0 && !section.name.startsWith('.init');
}

/** Values of a tag of `.modinfo`. */
export function modinfo(file: ElfFile, tag: string): string[] {
  const section = file.sections.find(({ name }) => name === '.modinfo');
  if (section === undefined) return [];
  return Buffer.from(section.data)
    .toString('latin1')
    .split('\0')
    .filter((line) => line.startsWith(`${tag}=`))
    .map((line) => line.slice(tag.length + 1));
}
