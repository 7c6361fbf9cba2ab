import {
  type ElfFile,
  type ElfSymbol,
  type Relocation,
  type Section,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  STB_GLOBAL,
  STB_LOCAL,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
  sectionOf,
} from '@kmend/elf';
import { BuilderError } from '../error.ts';
import type { ObjectName, Resolution } from '../types.ts';
import { plainName } from './provided.ts';

/** Names of Documentation/livepatch/module-elf-format.rst. */
const SYMBOL_PREFIX = '.klp.sym.';
const SECTION_PREFIX = '.klp.rela.';
const HELD_PREFIX = '.klp.of.';
const VMLINUX = 'vmlinux';

/** kernel/livepatch/core.c, klp_resolve_symbols: what `sscanf` there can read. */
const OBJECT_LIMIT = 55;
const SYMBOL_LIMIT = 511;

/** What modpost made for the loader of modules. */
const LOADER_NAMES = new Set(['init_module', 'cleanup_module', '__this_module']);

export function klpSymbolName(resolution: Extract<Resolution, { kind: 'klp' }>): string {
  const { object, symbol, sympos } = resolution;
  if (object.length > OBJECT_LIMIT || symbol.length > SYMBOL_LIMIT) {
    throw new BuilderError('object-unsupported', `the symbol ${symbol} of ${object} has too long a name for livepatch`);
  }
  return `${SYMBOL_PREFIX}${object}.${symbol},${sympos}`;
}

/**
 * The livepatch name of a symbol behind the object whose code refers to it, as extracted objects carry it until the
 * module is finished: `ld -r` joins sections of one name, and with them code of several objects, such as
 * `.altinstr_aux` of vfat and of vmlinux.
 */
export function heldSymbolName(holder: ObjectName, resolution: Extract<Resolution, { kind: 'klp' }>): string {
  return `${HELD_PREFIX}${holder}${klpSymbolName(resolution)}`;
}

interface HeldName {
  /** The object whose code refers to the symbol. */
  readonly holder: ObjectName;
  /** The object that has the symbol. */
  readonly owner: ObjectName;
  /** As the kernel reads it. */
  readonly name: string;
}

function heldNameOf(symbol: ElfSymbol): HeldName | undefined {
  if (symbol.place !== SHN_UNDEF) return undefined;
  const [, holder, name, owner] = /^\.klp\.of\.([^.]+)(\.klp\.sym\.([^.]+)\..+)$/.exec(symbol.name) ?? [];
  if (holder === undefined || name === undefined || owner === undefined) return undefined;
  return { holder, owner, name };
}

/**
 * Gives undefined symbols the names by which livepatch finds them. `holder`: the object that the code of the file
 * belongs to.
 */
export function nameReferences(file: ElfFile, holder: ObjectName, resolutions: ReadonlyMap<string, Resolution>): void {
  for (const symbol of file.symbols) {
    if (symbol.place !== SHN_UNDEF) continue;
    const resolution = resolutions.get(symbol.name);
    if (resolution?.kind === 'klp') symbol.name = heldSymbolName(holder, resolution);
  }
}

/**
 * Turns the linked module into a livepatch: references by livepatch names move into `.klp.rela.<object>.<section>`
 * tables, and the aliases that named new functions and callbacks to the registration are dropped.
 *
 * `<object>` says when the kernel fills the references in (kernel/livepatch/core.c, klp_apply_section_relocs):
 * `vmlinux` while the livepatch loads, a module when that module is there. It is the patched object that holds the
 * code, whatever module has the symbol: a call from vfat to `fat_build_inode` of fat is in `.klp.rela.vfat.*` as
 * `.klp.sym.fat.fat_build_inode,0`. What vmlinux has can be filled in at once for code of any object, and must be: a
 * module's table may not name it (klp_resolve_symbols).
 */
export function convertModule(file: ElfFile, aliasPrefix: string): void {
  const named = new Map<Section, ElfSymbol[]>();
  for (const symbol of file.symbols) {
    const section = sectionOf(symbol);
    const isNamed = symbol.type === STT_FUNC || symbol.type === STT_OBJECT;
    if (section === undefined || !isNamed || symbol.name.startsWith(aliasPrefix)) continue;
    named.set(section, [...(named.get(section) ?? []), symbol]);
  }
  // objtool names the padding in front of each symbol of a function, also of an alias.
  const isAlias = ({ name }: ElfSymbol): boolean => name.replace(/^__pfx_/, '').startsWith(aliasPrefix);
  const real = (symbol: ElfSymbol): ElfSymbol => {
    if (!symbol.name.startsWith(aliasPrefix)) return symbol;
    const section = sectionOf(symbol);
    const found =
      section === undefined
        ? undefined
        : named.get(section)?.find(({ value, type }) => value === symbol.value && type === symbol.type);
    if (found === undefined) throw new BuilderError('link-failed', `what ${symbol.name} stands for is lost`);
    return found;
  };
  const symbols = new Map<string, ElfSymbol>();
  const livepatchSymbol = (name: string): ElfSymbol => {
    const known = symbols.get(name);
    if (known !== undefined) return known;
    const symbol = { name, value: 0n, size: 0, bind: STB_GLOBAL, type: STT_NOTYPE, other: 0, place: SHN_LIVEPATCH };
    symbols.set(name, symbol);
    return symbol;
  };
  for (const section of file.sections) {
    const tables = new Map<string, Relocation[]>();
    const ordinary: Relocation[] = [];
    for (const relocation of section.relocations) {
      relocation.symbol = real(relocation.symbol);
      const held = heldNameOf(relocation.symbol);
      if (held === undefined) {
        ordinary.push(relocation);
        continue;
      }
      const object = held.owner === VMLINUX ? VMLINUX : held.holder;
      relocation.symbol = livepatchSymbol(held.name);
      const table = tables.get(object);
      if (table === undefined) tables.set(object, [relocation]);
      else table.push(relocation);
    }
    section.relocations = ordinary;
    for (const [object, relocations] of tables) {
      const name = `${SECTION_PREFIX}${object}.${section.name}`;
      // sysfs shows each section of a module by its name (kernel/module/sysfs.c, add_sect_attrs).
      if (file.livepatchRelocations.some((table) => table.name === name))
        throw new BuilderError('object-unsupported', `the livepatch has two sections called ${section.name}`);
      file.livepatchRelocations.push({ name, target: section, relocations });
    }
  }
  file.symbols = [
    ...file.symbols.filter((symbol) => !isAlias(symbol) && heldNameOf(symbol) === undefined),
    ...symbols.values(),
  ];
  for (const symbol of file.symbols) {
    if (symbol.bind === STB_LOCAL || sectionOf(symbol) === undefined || LOADER_NAMES.has(symbol.name)) continue;
    // New globals are for the units of this livepatch alone.
    symbol.bind = STB_LOCAL;
    symbol.name = plainName(symbol.name);
  }
  // The gABI wants local symbols first.
  file.symbols.sort((a, b) => Number(a.bind !== STB_LOCAL) - Number(b.bind !== STB_LOCAL));
}
