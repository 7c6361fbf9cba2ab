import {
  type ElfFile,
  type ElfSymbol,
  isPcRelative,
  relocationSize,
  type Section,
  SHF_ALLOC,
  SHN_UNDEF,
  SHT_NOBITS,
  STT_SECTION,
  sectionOf,
} from '@kmend/elf';
import { type KernelMemory, moduleSymbols, type SymbolTable } from '@kmend/kernel';
import { BuilderError } from '../error.ts';
import type { ObjectName } from '../types.ts';

/** A kernel object as shipped: its bytes by address, and its symbols in the order `sympos` counts in. */
export interface ShippedImage {
  readonly object: ObjectName;
  /** Whatever its code refers to has a name here; kallsyms leaves some out. */
  readonly complete: boolean;
  read(address: bigint, size: number): Uint8Array | undefined;
  /** Places of a name, in kallsyms order; for a module also names that it takes from elsewhere. */
  named(name: string): readonly bigint[];
  namesAt(address: bigint): readonly string[];
}

class SymbolIndex {
  readonly #byName = new Map<string, bigint[]>();
  readonly #byAddress = new Map<bigint, string[]>();

  constructor(symbols: Iterable<{ readonly name: string; readonly address: bigint }>) {
    for (const { name, address } of symbols) {
      const places = this.#byName.get(name);
      if (places === undefined) this.#byName.set(name, [address]);
      else places.push(address);
      const names = this.#byAddress.get(address);
      if (names === undefined) this.#byAddress.set(address, [name]);
      else names.push(name);
    }
  }

  named(name: string): readonly bigint[] {
    return this.#byName.get(name) ?? [];
  }

  namesAt(address: bigint): readonly string[] {
    return this.#byAddress.get(address) ?? [];
  }
}

export function vmlinuxImage(memory: KernelMemory, symbols: SymbolTable): ShippedImage {
  return {
    object: 'vmlinux',
    complete: false,
    read: (address, size) => memory.read(address, size),
    named: (name) => symbols.named(name).map(({ address }) => address),
    namesAt: (address) => symbols.namesAt(address),
  };
}

/**
 * As modules lie in memory: the last 2 GiB less what vmlinux takes (arch/x86/include/asm/pgtable_64_types.h,
 * MODULES_VADDR).
 */
const MODULE_BASE = 0xffff_ffff_c000_0000n;
/** Room for all modules together there (MODULES_LEN); one alone is far smaller. */
const MODULE_LIMIT = 2 ** 30;
const OUTSIDE_BASE = 0xffff_ffff_a000_0000n;

/**
 * A module laid out and relocated at made-up addresses, so that the same comparison serves modules and vmlinux:
 * sections one behind the other, and every symbol it takes from elsewhere at a place of its own.
 */
export function moduleImage(object: ObjectName, file: ElfFile): ShippedImage {
  const base = new Map<Section, bigint>();
  const memory: { readonly section: Section; readonly start: bigint; readonly bytes: Uint8Array }[] = [];
  let next = MODULE_BASE;
  for (const section of file.sections) {
    if ((section.flags & SHF_ALLOC) === 0) continue;
    base.set(section, next);
    memory.push({ section, start: next, bytes: new Uint8Array(section.data) });
    next += BigInt(Math.ceil(section.size / 4096) * 4096 + 4096);
    if (next > MODULE_BASE + BigInt(MODULE_LIMIT)) {
      throw new BuilderError('object-unsupported', `${object} is too large for a module`);
    }
  }
  const outside = new Map<ElfSymbol, bigint>();
  for (const symbol of file.symbols) {
    if (symbol.place === SHN_UNDEF) outside.set(symbol, OUTSIDE_BASE + BigInt(outside.size) * 4096n);
  }
  const addressOf = (symbol: ElfSymbol): bigint | undefined => {
    const section = sectionOf(symbol);
    if (section === undefined) return outside.get(symbol) ?? symbol.value;
    const start = base.get(section);
    return start === undefined ? undefined : start + symbol.value;
  };
  for (const { section, start, bytes } of memory) relocate(object, section, bytes, start, addressOf);
  const own = file.symbols.filter((symbol) => symbol.name !== '' && symbol.type !== STT_SECTION);
  const places = own.flatMap((symbol) => {
    const address = addressOf(symbol);
    return address === undefined ? [] : [{ name: symbol.name, address }];
  });
  // moduleSymbols decides what counts for sympos; its order is that of the table, as here.
  const counted = new Set(moduleSymbols(file).map(({ name }) => name));
  const index = new SymbolIndex(places.filter(({ name, address }) => counted.has(name) || address < MODULE_BASE));
  return {
    object,
    complete: true,
    read(address, size) {
      const part = memory.findLast(({ start }) => start <= address);
      if (part === undefined) return undefined;
      const offset = Number(address - part.start);
      if (offset + size > part.section.size) return undefined;
      // What has no bytes in the file (.bss) is zero.
      return part.section.type === SHT_NOBITS ? new Uint8Array(size) : part.bytes.subarray(offset, offset + size);
    },
    named: (name) => index.named(name),
    namesAt: (address) => index.namesAt(address),
  };
}

function relocate(
  object: ObjectName,
  section: Section,
  bytes: Uint8Array,
  start: bigint,
  addressOf: (symbol: ElfSymbol) => bigint | undefined,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { offset, type, symbol, addend } of section.relocations) {
    const size = relocationSize(type);
    const target = addressOf(symbol);
    if (size === undefined)
      throw new BuilderError('object-unsupported', `${object}: relocation type ${type} in ${section.name}`);
    if (target === undefined || size === 0) continue;
    const value = target + addend - (isPcRelative(type) ? start + BigInt(offset) : 0n);
    if (size === 8) view.setBigUint64(offset, BigInt.asUintN(64, value), true);
    else view.setInt32(offset, Number(BigInt.asIntN(32, value)), true);
  }
}
