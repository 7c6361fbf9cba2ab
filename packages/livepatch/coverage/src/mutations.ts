/** Mutants of finished livepatches: each an edit that changes what the livepatch does. */
import {
  type ElfFile,
  type ElfSymbol,
  type Relocation,
  type Section,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  STT_FUNC,
  STT_OBJECT,
  sectionOf,
} from '@kmend/elf';
import type { Livepatch } from '@kmend/protocol';

/** What mutants are made with: the kernel's own names, so that they are plausible. */
export interface Names {
  /** Unexported functions and variables of vmlinux, each there once. */
  readonly functions: readonly string[];
  readonly variables: readonly string[];
  readonly exported: readonly string[];
  /** Static variables of an object, each there once. */
  statics(object: string): readonly string[];
  /** How many symbols of a name an object has. */
  count(object: string, name: string): number;
}

export interface Material {
  readonly file: ElfFile;
  readonly manifest: Livepatch;
  readonly names: Names;
  /** A whole number from 0 to below the limit, the same for the same seed. */
  pick(limit: number): number;
}

/** Edits the file; returns what it did, or `undefined` if the livepatch has nothing of the kind. */
export type Mutation = (material: Material) => string | undefined;

/** Sections in which a changed field changes nothing: what only keeps symbols alive (`__addressable`). */
const INERT = /^\.(?:exit|init)\.data$|^\.note|^\.modinfo$/;
const TABLES =
  /^(?:__bug_table|__ex_table|\.altinstructions|__jump_table|\.static_call_sites|__mcount_loc|\.return_sites|\.retpoline_sites)$/;

export const mutations: Readonly<Record<string, Mutation>> = {
  'owner changed': (material) => {
    const symbol = one(material, klpSymbols(material.file));
    const name = symbol === undefined ? undefined : parse(symbol.name);
    if (symbol === undefined || name === undefined) return undefined;
    const owner =
      one(
        material,
        ['vmlinux', 'ext4', 'xfs', 'kvm'].filter((other) => other !== name.owner),
      ) ?? '';
    symbol.name = `.klp.sym.${owner}.${name.symbol},${name.sympos}`;
    return `${name.symbol}: ${name.owner} -> ${owner}`;
  },
  'sympos changed': (material) => {
    const symbol = one(material, klpSymbols(material.file));
    const name = symbol === undefined ? undefined : parse(symbol.name);
    if (symbol === undefined || name === undefined) return undefined;
    const there = material.names.count(name.owner, name.symbol);
    // 0 and 1 are the same where there is one symbol: never 1 for it.
    const position = there < 2 ? 2 + material.pick(3) : 1 + (name.sympos % there);
    symbol.name = `.klp.sym.${name.owner}.${name.symbol},${position}`;
    return `${name.symbol}: ${name.sympos} -> ${position}`;
  },
  'addend changed': (material) => {
    const found = one(material, codeRelocations(material.file));
    if (found === undefined) return undefined;
    const by = one(material, [-16n, -8n, -4n, -1n, 1n, 4n, 8n, 16n]) ?? 1n;
    found.relocation.addend += by;
    return `${at(found)} by ${by}`;
  },
  'relocation dropped': (material) => {
    const found = one(material, codeRelocations(material.file));
    if (found === undefined) return undefined;
    found.list.splice(found.list.indexOf(found.relocation), 1);
    return at(found);
  },
  'data relocation dropped': (material) => {
    const found = one(material, dataRelocations(material.file));
    if (found === undefined) return undefined;
    found.list.splice(found.list.indexOf(found.relocation), 1);
    return at(found);
  },
  'relocation retargeted': (material) => {
    const all = codeRelocations(material.file);
    const found = one(material, all);
    if (found === undefined) return undefined;
    const others = all.filter(
      ({ table, relocation: { symbol, type } }) =>
        table === found.table && type === found.relocation.type && symbol !== found.relocation.symbol,
    );
    const other = one(material, others);
    if (other === undefined) return undefined;
    if (isSameText(found.relocation, other.relocation)) return undefined;
    const was = found.relocation.symbol.name;
    found.relocation.symbol = other.relocation.symbol;
    found.relocation.addend = other.relocation.addend;
    return `${at(found)}: ${was} -> ${other.relocation.symbol.name}`;
  },
  'call of another export': (material) => {
    const calls = codeRelocations(material.file).filter(
      ({ relocation }) => relocation.type === 4 && relocation.symbol.place === SHN_UNDEF,
    );
    const found = one(material, calls);
    const name = one(material, material.names.exported);
    if (found === undefined || name === undefined || found.relocation.symbol.name === name) return undefined;
    const was = found.relocation.symbol.name;
    const symbol = { ...found.relocation.symbol, name };
    material.file.symbols.push(symbol);
    found.relocation.symbol = symbol;
    return `${at(found)}: ${was} -> ${name}`;
  },
  'call of another function of the kernel': (material) =>
    swapKlp(material, (type) => type === STT_FUNC || type === 0, material.names.functions, true),
  'variable swapped': (material) => {
    const symbols = klpSymbols(material.file).filter((symbol) => !isCalled(material.file, symbol));
    const symbol = one(material, symbols);
    const name = symbol === undefined ? undefined : parse(symbol.name);
    if (symbol === undefined || name === undefined) return undefined;
    const other = one(
      material,
      material.names.statics(name.owner).filter((one) => one !== name.symbol),
    );
    if (other === undefined) return undefined;
    symbol.name = `.klp.sym.${name.owner}.${other},0`;
    return `${name.symbol} -> ${other} of ${name.owner}`;
  },
  'table renamed': (material) => {
    const table = one(material, material.file.livepatchRelocations);
    const object = one(material, ['vmlinux', 'ext4', 'xfs', 'kvm']);
    const was = table === undefined ? '' : (/^\.klp\.rela\.([^.]+)/.exec(table.name)?.[1] ?? '');
    if (table === undefined || object === undefined || object === was) return undefined;
    table.name = table.name.replace(/^(\.klp\.rela\.)[^.]+/, `$1${object}`);
    return `${was} -> ${object}`;
  },
  'table dropped': (material) => {
    const table = one(material, material.file.livepatchRelocations);
    if (table === undefined) return undefined;
    material.file.livepatchRelocations.splice(material.file.livepatchRelocations.indexOf(table), 1);
    return table.name;
  },
  'table without its mark': (material) => {
    const table = one(material, material.file.livepatchRelocations);
    if (table === undefined) return undefined;
    material.file.livepatchRelocations.splice(material.file.livepatchRelocations.indexOf(table), 1);
    table.target.relocations.push(...table.relocations);
    return table.name;
  },
  'unit dropped': (material) => {
    // The first function of an object ends the list.
    const functions = registered(material.file);
    const found = one(material, functions);
    if (found === undefined) return undefined;
    for (const offset of [found.offset, found.offset + 8]) {
      const index = found.section.relocations.findIndex((relocation) => relocation.offset === offset);
      if (index >= 0) found.section.relocations.splice(index, 1);
    }
    return `the entry at ${found.section.name}+0x${found.offset.toString(16)}`;
  },
  'old name changed': (material) => {
    const found = one(material, registered(material.file));
    const relocation = found?.section.relocations.find(({ offset }) => offset === found.offset);
    const section = relocation === undefined ? undefined : sectionOf(relocation.symbol);
    if (relocation === undefined || section === undefined) return undefined;
    section.data = Uint8Array.from(section.data);
    const start = Number(relocation.symbol.value) + Number(relocation.addend);
    const name = one(material, material.names.functions);
    const end = section.data.indexOf(0, start);
    if (name === undefined || name.length > end - start) return undefined;
    section.data.fill(0, start, end);
    section.data.set(Buffer.from(name, 'latin1'), start);
    return name;
  },
  'new code swapped': (material) => {
    const { file } = material;
    const found = one(material, registered(file));
    const relocation = found?.section.relocations.find(({ offset }) => offset === found.offset + 8);
    const others = file.symbols.filter(
      (symbol) =>
        symbol.type === STT_FUNC &&
        symbol.size > 0 &&
        symbol !== relocation?.symbol &&
        sectionOf(symbol) !== undefined &&
        symbol.name !== relocation?.symbol.name,
    );
    const other = one(material, others);
    if (relocation === undefined || other === undefined) return undefined;
    const was = relocation.symbol.name;
    relocation.symbol = other;
    relocation.addend = 0n;
    return `${was} -> ${other.name}`;
  },
  'position of the old function changed': (material) => {
    const found = one(material, registered(material.file));
    if (found === undefined) return undefined;
    found.section.data = Uint8Array.from(found.section.data);
    found.section.data[found.offset + 16] = (found.section.data[found.offset + 16] ?? 0) + 2;
    return `the entry at +0x${found.offset.toString(16)}`;
  },
  'object name changed': (material) => {
    const { file, manifest } = material;
    const modules = manifest.objects.filter(({ name }) => name !== 'vmlinux').map(({ name }) => name);
    const module = one(material, modules);
    if (module === undefined) return undefined;
    for (const section of file.sections) {
      const at = Buffer.from(section.data).indexOf(`${module}\0`, 0, 'latin1');
      if (at < 0 || !section.name.startsWith('.rodata') || (at > 0 && section.data[at - 1] !== 0)) continue;
      section.data = Uint8Array.from(section.data);
      section.data[at + material.pick(module.length)] = 0x7a;
      return module;
    }
    return undefined;
  },
  'branch changed': (material) => {
    const sites = codeRelocations(material.file).filter(
      ({ relocation, section }) => relocation.type === 4 && section.data[relocation.offset - 1] === 0xe8,
    );
    const found = one(material, sites);
    if (found === undefined) return undefined;
    found.section.data = Uint8Array.from(found.section.data);
    // One more or less: the field is no longer empty, or the call is another instruction.
    const where = one(material, [0, 1, 2, 3]) ?? 0;
    found.section.data[found.relocation.offset + where] = 1 + material.pick(255);
    return at(found);
  },
  'table entry moved': (material) => {
    const found = one(material, tableRelocations(material.file));
    if (found === undefined) return undefined;
    const by = one(material, [-2n, -1n, 1n, 2n, 3n]) ?? 1n;
    found.relocation.addend += by;
    return `${at(found)} by ${by}`;
  },
  'version of an export changed': (material) => {
    const section = material.file.sections.find(({ name }) => name === '__versions');
    if (section === undefined || section.size < 64) return undefined;
    section.data = Uint8Array.from(section.data);
    const entry = material.pick(section.size / 64) * 64;
    section.data[entry] = (section.data[entry] ?? 0) ^ 0x55;
    return `entry ${entry / 64}`;
  },
  'replacing or not': (material) => {
    const symbol = material.file.symbols.find(({ name }) => name === 'kmend_patch');
    const section = symbol === undefined ? undefined : sectionOf(symbol);
    if (symbol === undefined || section === undefined) return undefined;
    const at = section.data.indexOf(1, Number(symbol.value));
    if (at < 0 || at >= Number(symbol.value) + symbol.size) return undefined;
    section.data = Uint8Array.from(section.data);
    section.data[at] = 0;
    return 'klp_patch.replace = false';
  },
};

/** `__func__.1` and `__PRETTY_FUNCTION__.0` of a function hold the same: which of them is read changes nothing. */
function isSameText(a: Relocation, b: Relocation): boolean {
  const [first, second] = [textOf(a), textOf(b)];
  return first !== undefined && second !== undefined && Buffer.compare(first, second) === 0;
}

function textOf({ symbol, addend }: Relocation): Uint8Array | undefined {
  const section = sectionOf(symbol);
  const isText = section !== undefined && /^__(?:func|PRETTY_FUNCTION|FUNCTION)__/.test(symbol.name);
  const start = Number(symbol.value) + Number(addend);
  return isText ? section.data.subarray(start, Number(symbol.value) + symbol.size) : undefined;
}

interface Site {
  readonly section: Section;
  readonly list: Relocation[];
  readonly relocation: Relocation;
  readonly table: string;
}

function at({ section, relocation }: Site): string {
  return `${section.name}+0x${relocation.offset.toString(16)} (${relocation.symbol.name || sectionOf(relocation.symbol)?.name})`;
}

function one<T>({ pick }: Material, list: readonly T[]): T | undefined {
  return list[pick(Math.max(1, list.length))];
}

function sites(file: ElfFile, wanted: (section: Section) => boolean): Site[] {
  const ordinary = file.sections
    .filter(wanted)
    .flatMap((section) =>
      section.relocations.map((relocation) => ({ section, list: section.relocations, relocation, table: '' })),
    );
  const late = file.livepatchRelocations
    .filter(({ target }) => wanted(target))
    .flatMap(({ name, target, relocations }) =>
      relocations.map((relocation) => ({
        section: target,
        list: relocations,
        relocation,
        table: name.split('.')[3] ?? '',
      })),
    );
  return [...ordinary, ...late];
}

function isNewCode(section: Section): boolean {
  return (section.flags & SHF_EXECINSTR) !== 0 && section.name.startsWith('.text');
}

function codeRelocations(file: ElfFile): Site[] {
  return sites(file, isNewCode);
}

function tableRelocations(file: ElfFile): Site[] {
  return sites(file, ({ name }) => TABLES.test(name));
}

function dataRelocations(file: ElfFile): Site[] {
  return sites(
    file,
    (section) => (section.flags & (SHF_ALLOC | SHF_EXECINSTR)) === SHF_ALLOC && !INERT.test(section.name),
  );
}

function klpSymbols(file: ElfFile): ElfSymbol[] {
  return file.symbols.filter(({ place }) => place === SHN_LIVEPATCH);
}

function parse(name: string): { readonly owner: string; readonly symbol: string; readonly sympos: number } | undefined {
  const [, owner = '', symbol = '', sympos = ''] = /^\.klp\.sym\.([^.]+)\.([^,]+),(\d+)$/.exec(name) ?? [];
  return owner === '' ? undefined : { owner, symbol, sympos: Number(sympos) };
}

function isCalled(file: ElfFile, symbol: ElfSymbol): boolean {
  return codeRelocations(file).some(({ relocation }) => relocation.symbol === symbol && relocation.type === 4);
}

function swapKlp(
  material: Material,
  wanted: (type: number) => boolean,
  names: readonly string[],
  called: boolean,
): string | undefined {
  const symbol = one(
    material,
    klpSymbols(material.file).filter((each) => wanted(each.type) && isCalled(material.file, each) === called),
  );
  const name = symbol === undefined ? undefined : parse(symbol.name);
  const other = one(material, names);
  if (symbol === undefined || name?.owner !== 'vmlinux' || other === undefined || other === name.symbol)
    return undefined;
  symbol.name = `.klp.sym.vmlinux.${other},0`;
  return `${name.symbol} -> ${other}`;
}

/** Entries of the arrays of struct klp_func, by what the registration calls them. */
function registered(file: ElfFile): { readonly section: Section; readonly offset: number }[] {
  const found: { section: Section; offset: number }[] = [];
  for (const symbol of file.symbols) {
    const section = sectionOf(symbol);
    if (symbol.type !== STT_OBJECT || !symbol.name.startsWith('kmend_funcs_') || section === undefined) continue;
    const start = Number(symbol.value);
    for (const { offset, symbol: target } of section.relocations) {
      if (offset >= start && offset < start + symbol.size && target.type === STT_FUNC)
        found.push({ section, offset: offset - 8 });
    }
  }
  return found;
}
