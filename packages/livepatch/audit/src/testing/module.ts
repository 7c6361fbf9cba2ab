import {
  type ElfFile,
  type ElfSymbol,
  ET_REL,
  type Relocation,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  SHT_PROGBITS,
  STB_GLOBAL,
  STB_LOCAL,
  STT_FUNC,
} from '@kmend/elf';
import type { Address } from '../address.ts';
import type { SymbolSource } from '../loaded.ts';

const R_X86_64_PLT32 = 4;

/** A livepatch of functions that only call, in a few bytes each. */
export class SmallModule {
  readonly file: ElfFile = { type: ET_REL, sections: [], symbols: [], livepatchRelocations: [], segments: [] };

  /** A function of so many calls, each with an empty displacement, and `ret`. */
  function(name: string, calls = 1): { readonly section: Section; readonly symbol: ElfSymbol } {
    const data = Uint8Array.from([...Array.from({ length: calls }, () => [0xe8, 0, 0, 0, 0]).flat(), 0xc3]);
    const section = this.#section(`.text.${name}`, { flags: SHF_ALLOC | SHF_EXECINSTR, align: 16, data });
    const symbol = { name, value: 0n, size: data.length, bind: STB_LOCAL, type: STT_FUNC, other: 0, place: section };
    this.file.symbols.push(symbol);
    return { section, symbol };
  }

  /** Zeros in a data section of its own. */
  data(name: string, size: number): Section {
    return this.#section(`.data.${name}`, { flags: SHF_ALLOC | SHF_WRITE, align: 8, data: new Uint8Array(size) });
  }

  #section(name: string, parts: Pick<Section, 'flags' | 'align' | 'data'>): Section {
    const section: Section = {
      ...parts,
      name,
      type: SHT_PROGBITS,
      address: 0n,
      entrySize: 0,
      size: parts.data.length,
      relocations: [],
    };
    this.file.sections.push(section);
    return section;
  }

  undefined(name: string): ElfSymbol {
    const place = name.startsWith('.klp.sym.') ? SHN_LIVEPATCH : SHN_UNDEF;
    const symbol = { name, value: 0n, size: 0, bind: STB_GLOBAL, type: 0, other: 0, place };
    this.file.symbols.push(symbol);
    return symbol;
  }

  /** A relocation of the call with that number. */
  static call(number: number, symbol: ElfSymbol): Relocation {
    return { offset: number * 5 + 1, type: R_X86_64_PLT32, symbol, addend: -4n };
  }

  table(object: string, target: Section, relocations: Relocation[]): void {
    this.file.livepatchRelocations.push({ name: `.klp.rela.${object}.${target.name}`, target, relocations });
  }
}

/** A kernel of a few symbols: `object.name` to an address. Modules depend on what is told. */
export function smallKernel(
  symbols: Readonly<Record<string, Address>>,
  depends: Readonly<Record<string, readonly string[]>> = {},
): SymbolSource {
  return {
    exports: { size: 0, has: (name) => `vmlinux.${name}` in symbols, get: (name) => exported(name, symbols) },
    exportedAt: (name) => symbols[`vmlinux.${name}`],
    find: (object, name) => {
      const address = symbols[`${object}.${name}`];
      return address === undefined ? { fault: `${object} has no symbol ${name}` } : { address };
    },
    withDependencies: (name) => new Set([name, ...(depends[name] ?? [])]),
  };
}

function exported(name: string, symbols: Readonly<Record<string, Address>>) {
  if (symbols[`vmlinux.${name}`] === undefined) return undefined;
  return { name, crc: '0x00000000', object: 'vmlinux', gplOnly: false, namespace: '' };
}
