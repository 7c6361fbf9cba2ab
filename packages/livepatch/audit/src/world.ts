import { readFile } from 'node:fs/promises';
import { type ElfFile, readElf, SHF_ALLOC, SHF_WRITE, SHT_NOBITS } from '@kmend/elf';
import {
  type Exports,
  isKernelCode,
  type Kernel,
  type KernelConfig,
  type KernelImage,
  type KernelSymbol,
  moduleFiles,
  parseConfig,
  parseSymvers,
  readModule,
  readSymbols,
  type StructLayout,
  type SymbolTable,
  structLayouts,
} from '@kmend/kernel';
import { type Address, addressOf, LIVEPATCH_START, lastNotAbove, MODULES_START, PERCPU_START } from './address.ts';
import { AuditError } from './error.ts';
import { type RuntimeOperand, runtimeOperands } from './runtime-operands.ts';
import { type Located, ShippedModule } from './shipped-module.ts';
import { type UnwindFormat, unwindFormat } from './unwind-format.ts';

/** Structs of the kernel whose layout the audit reads. */
const STRUCTS = [
  'module',
  'klp_patch',
  'klp_object',
  'klp_func',
  'klp_callbacks',
  'bug_entry',
  'exception_table_entry',
  'alt_instr',
  'jump_entry',
  'static_call_site',
  'paravirt_patch_site',
  'orc_entry',
  '_ddebug',
] as const;

export type Lookup =
  | { readonly address: Address }
  /** Why klp_find_object_symbol() finds nothing. */
  | { readonly fault: string };

interface Part {
  readonly name: string;
  readonly start: Address;
  readonly end: Address;
  readonly data: Uint8Array;
  readonly isCode: boolean;
  readonly isWritable: boolean;
  readonly isInit: boolean;
}

/** Symbols of vmlinux in order of address. */
interface Order {
  readonly addresses: Float64Array;
  readonly lines: Uint32Array;
  readonly all: readonly KernelSymbol[];
}

/** What the store has of a kernel. */
interface KernelFiles {
  readonly vmlinux: ElfFile;
  readonly symbols: SymbolTable;
  /** Modules by name, with the files that hold them. */
  readonly files: ReadonlyMap<string, string>;
  /** `undefined`: of an image, which does not say it. */
  readonly exports: Exports | undefined;
  readonly config: KernelConfig;
}

/**
 * The shipped kernel: vmlinux, and its modules as they are asked for, each at an address of its own. Everything is read
 * from the store's files, nothing from what a builder made of them.
 */
export class World {
  readonly kernel: KernelImage;
  readonly exports: Exports;
  readonly layouts: ReadonlyMap<string, StructLayout>;
  /** CONFIG_HAVE_JUMP_LABEL_HACK. */
  readonly marksJumps: boolean;
  /** CONFIG_X86_KERNEL_IBT. */
  readonly hasBranchTracking: boolean;
  readonly unwindFormat: UnwindFormat;
  readonly #isImage: boolean;
  readonly #symbols: SymbolTable;
  readonly #files: ReadonlyMap<string, string>;
  readonly #parts: readonly Part[];
  readonly #operands: readonly RuntimeOperand[];
  readonly #modules = new Map<string, ShippedModule>();
  #order: Order | undefined;
  #next: Address = MODULES_START;
  #percpu: Address = PERCPU_START;

  private constructor(kernel: KernelImage, { vmlinux, symbols, files, exports, config }: KernelFiles) {
    this.kernel = kernel;
    this.exports = exports ?? parseSymvers('');
    this.#isImage = exports === undefined;
    this.#symbols = symbols;
    this.#files = files;
    this.marksJumps = config.get('CONFIG_HAVE_JUMP_LABEL_HACK') === 'y';
    this.hasBranchTracking = config.get('CONFIG_X86_KERNEL_IBT') === 'y';
    this.unwindFormat = unwindFormat(vmlinux.sections);
    this.layouts = structLayouts(vmlinux, STRUCTS);
    this.#operands = runtimeOperands(vmlinux.sections);
    this.#parts = vmlinux.sections
      .filter((section) => (section.flags & SHF_ALLOC) !== 0)
      .map((section) => ({
        name: section.name,
        start: addressOf(section.address),
        end: addressOf(section.address) + section.size,
        data: section.type === SHT_NOBITS ? new Uint8Array(0) : section.data,
        isCode: isKernelCode(section),
        isWritable: (section.flags & SHF_WRITE) !== 0 && section.name !== '.rodata',
        isInit: section.name.startsWith('.init') || section.name.startsWith('.exit'),
      }));
  }

  static async open(kernel: Kernel): Promise<World> {
    const [bytes, symbols, symvers, files, config] = await Promise.all([
      readFile(kernel.paths.vmlinux),
      readSymbols(kernel),
      readFile(kernel.paths.moduleSymvers, 'utf8'),
      moduleFiles(kernel),
      readFile(kernel.paths.config, 'utf8'),
    ]);
    return new World(kernel, {
      vmlinux: readElf(bytes),
      symbols,
      files,
      exports: parseSymvers(symvers),
      config: parseConfig(config),
    });
  }

  /** A kernel that is only compared with: nothing is loaded there, and its image says not what exports which symbol. */
  static async openImage(kernel: KernelImage): Promise<World> {
    const [bytes, symbols, files] = await Promise.all([
      readFile(kernel.paths.vmlinux),
      readSymbols(kernel),
      moduleFiles(kernel),
    ]);
    return new World(kernel, { vmlinux: readElf(bytes), symbols, files, exports: undefined, config: new Map() });
  }

  has(object: string): boolean {
    return object === 'vmlinux' || this.#files.has(object);
  }

  /** Modules of the kernel by name, with the files that hold them. */
  get moduleFiles(): ReadonlyMap<string, string> {
    return this.#files;
  }

  /** Reads a module and, before it, what it depends on, as modprobe loads them. */
  async load(name: string): Promise<ShippedModule | undefined> {
    const known = this.#modules.get(name);
    if (known !== undefined) return known;
    const path = this.#files.get(name);
    if (path === undefined) return undefined;
    const file = await readModule(path);
    const module = new ShippedModule(name, file, { start: this.#next, percpu: this.#percpu }, (symbol) =>
      this.exportedAt(symbol),
    );
    this.#next = module.end;
    this.#percpu += 0x1_0000;
    if (this.#next > LIVEPATCH_START)
      throw new AuditError('audit-unreadable', `the modules up to ${name} do not fit into memory`);
    this.#modules.set(name, module);
    for (const needed of module.depends) await this.load(needed.replaceAll('-', '_'));
    return module;
  }

  /** A module that was loaded before. */
  module(name: string): ShippedModule | undefined {
    return this.#modules.get(name);
  }

  /** All modules that are in memory whenever this one is, itself included. */
  withDependencies(name: string): ReadonlySet<string> {
    const found = new Set<string>();
    const visit = (module: string): void => {
      if (found.has(module)) return;
      found.add(module);
      for (const needed of this.#modules.get(module)?.depends ?? []) visit(needed.replaceAll('-', '_'));
    };
    visit(name);
    return found;
  }

  /** Where an exported symbol lies; `undefined` where its module is not loaded. */
  exportedAt(name: string): Address | undefined {
    const exported = this.exports.get(name);
    if (exported === undefined) return this.#isImage ? this.#global(name) : undefined;
    if (exported.object === 'vmlinux') return this.#globalOfKernel(name);
    return this.#modules.get(exported.object)?.named(name, 'live')[0];
  }

  #globalOfKernel(name: string): Address | undefined {
    const found = this.#symbols.named(name);
    const global = found.find(({ type }) => type === type.toUpperCase()) ?? found[0];
    return global === undefined ? undefined : addressOf(global.address);
  }

  /** Of an image: of vmlinux, or of a module that was loaded. */
  #global(name: string): Address | undefined {
    const found = this.#globalOfKernel(name);
    if (found !== undefined) return found;
    for (const module of this.#modules.values()) {
      const address = module.named(name, 'live')[0];
      if (address !== undefined) return address;
    }
    return undefined;
  }

  /** Every symbol of a name that an object has, in its order. */
  named(object: string, name: string): Address[] {
    return object === 'vmlinux'
      ? this.#symbols.named(name).map(({ address }) => addressOf(address))
      : (this.#modules.get(object)?.named(name, 'live') ?? []);
  }

  /** Operands between two addresses of vmlinux that the kernel fills in at boot. */
  runtimeOperands(start: Address, end: Address): readonly RuntimeOperand[] {
    return this.#operands.filter(({ at }) => at >= start && at < end);
  }

  /** A section of vmlinux. */
  section(name: string): { readonly start: Address; readonly end: Address } | undefined {
    return this.#parts.find((part) => part.name === name);
  }

  /** kernel/livepatch/core.c, klp_find_object_symbol(), with the object in memory. */
  find(object: string, name: string, sympos: number): Lookup {
    if (object === 'vmlinux')
      return pick(
        object,
        name,
        sympos,
        this.#symbols.named(name).map(({ address }) => addressOf(address)),
      );
    const module = this.#modules.get(object);
    if (module === undefined) return { fault: `the module ${object} is not loaded` };
    const live = pick(object, name, sympos, module.named(name, 'live'));
    const coming = pick(object, name, sympos, module.named(name, 'coming'));
    if ('address' in live && 'address' in coming && live.address !== coming.address) {
      return { fault: `${name},${sympos} of ${object} is another symbol while the module comes up than later` };
    }
    return 'fault' in live ? live : coming;
  }

  /** How many symbols of a name an object has. */
  count(object: string, name: string): number {
    return object === 'vmlinux'
      ? this.#symbols.named(name).length
      : (this.#modules.get(object)?.named(name, 'live').length ?? 0);
  }

  /** Address of a symbol of vmlinux that exists once. */
  symbol(name: string): Address | undefined {
    const [found, second] = this.#symbols.named(name);
    return found === undefined || second !== undefined ? undefined : addressOf(found.address);
  }

  locate(address: Address): Located | undefined {
    if (address >= MODULES_START && address < LIVEPATCH_START) {
      return this.#moduleAt(address)?.locate(address);
    }
    if (address >= PERCPU_START) {
      for (const module of this.#modules.values()) {
        const found = module.locate(address);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    const { addresses, lines, all } = this.#ordered();
    const index = lastNotAbove(addresses, address);
    if (index < 0) return undefined;
    const start = addresses[index] ?? 0;
    let first = index;
    while (first > 0 && addresses[first - 1] === start) first--;
    const symbols = Array.from(lines.subarray(first, index + 1), (line) => all[line]).filter(
      (symbol) => symbol !== undefined,
    );
    const part = this.#parts.find((one) => address >= one.start && address < one.end);
    if (part === undefined) return undefined;
    return {
      object: 'vmlinux',
      names: symbols.map(({ name }) => name),
      start,
      end: Math.min(addresses[index + 1] ?? part.end, part.end),
      isCode: part.isCode,
      isWritable: part.isWritable,
      isLocal: symbols.every(({ type }) => type !== type.toUpperCase()),
      isInit: part.isInit,
    };
  }

  read(address: Address, size: number): Uint8Array | undefined {
    if (address >= MODULES_START && address < LIVEPATCH_START) return this.#moduleAt(address)?.read(address, size);
    const part = this.#parts.find((one) => address >= one.start && address + size <= one.start + one.data.length);
    return part?.data.subarray(address - part.start, address - part.start + size);
  }

  /** Functions of vmlinux from an address on, each until the next; at most `count`; negative: before it. */
  neighbours(address: Address, count: number): Located[] {
    const { addresses } = this.#ordered();
    const middle = lastNotAbove(addresses, address);
    const found: Located[] = [];
    for (const step of [-1, 1]) {
      let last = address;
      let taken = 0;
      for (
        let index = middle + (step < 0 ? 0 : 1);
        index >= 0 && index < addresses.length && taken < count;
        index += step
      ) {
        const start = addresses[index] ?? 0;
        if (start === last) continue;
        last = start;
        const located = this.locate(start);
        if (located?.isCode !== true) break;
        found.push(located);
        taken++;
      }
    }
    return found;
  }

  #moduleAt(address: Address): ShippedModule | undefined {
    for (const module of this.#modules.values()) if (module.place(address) !== undefined) return module;
    return undefined;
  }

  #ordered(): Order {
    if (this.#order !== undefined) return this.#order;
    const all = this.#symbols.all();
    const values = Float64Array.from(all, ({ address }) => addressOf(address));
    const lines = Uint32Array.from(all.keys());
    // Per-cpu symbols come first in kallsyms, at small addresses; as signed numbers they belong behind the others.
    lines.sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0) || a - b);
    this.#order = { addresses: Float64Array.from(lines, (line) => values[line] ?? 0), lines, all };
    return this.#order;
  }
}

function pick(object: string, name: string, sympos: number, found: readonly Address[]): Lookup {
  if (found.length === 0) return { fault: `${object} has no symbol ${name}` };
  if (sympos === 0) {
    const [only] = found;
    return found.length > 1 || only === undefined
      ? { fault: `${object} has ${found.length} symbols ${name}, and none is chosen` }
      : { address: only };
  }
  const chosen = found[sympos - 1];
  return chosen === undefined
    ? { fault: `${object} has ${found.length} symbols ${name}, not ${sympos}` }
    : { address: chosen };
}
