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
  STT_OBJECT,
  sectionOf,
} from '@kmend/elf';
import { BuilderError } from '../error.ts';
import type { Resolution } from '../types.ts';

/** Names of Documentation/livepatch/module-elf-format.rst. */
const SYMBOL_PREFIX = '.klp.sym.';
const SECTION_PREFIX = '.klp.rela.';

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

/** The object that owns the symbol, from its livepatch name; `undefined` for other symbols. */
function ownerOf(symbol: ElfSymbol): string | undefined {
  if (symbol.place !== SHN_UNDEF || !symbol.name.startsWith(SYMBOL_PREFIX)) return undefined;
  const rest = symbol.name.slice(SYMBOL_PREFIX.length);
  return rest.slice(0, rest.indexOf('.'));
}

/** Gives undefined symbols the names by which livepatch finds them. */
export function nameReferences(file: ElfFile, resolutions: ReadonlyMap<string, Resolution>): void {
  for (const symbol of file.symbols) {
    if (symbol.place !== SHN_UNDEF) continue;
    const resolution = resolutions.get(symbol.name);
    if (resolution?.kind === 'klp') symbol.name = klpSymbolName(resolution);
  }
}

/**
 * Turns the linked module into a livepatch: references by livepatch names move into `.klp.rela.<object>.<section>` tables, and the aliases
 * that named new functions and callbacks to the registration are dropped.
 */
export function convertModule(file: ElfFile, aliasPrefix: string): void {
  const named = new Map<Section, ElfSymbol[]>();
  for (const symbol of file.symbols) {
    const section = sectionOf(symbol);
    const isNamed = symbol.type === STT_FUNC || symbol.type === STT_OBJECT;
    if (section === undefined || !isNamed || symbol.name.startsWith(aliasPrefix)) continue;
    named.set(section, [...(named.get(section) ?? []), symbol]);
  }
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
  for (const section of file.sections) {
    const tables = new Map<string, Relocation[]>();
    const ordinary: Relocation[] = [];
    for (const relocation of section.relocations) {
      relocation.symbol = real(relocation.symbol);
      const owner = ownerOf(relocation.symbol);
      if (owner === undefined) ordinary.push(relocation);
      else tables.set(owner, [...(tables.get(owner) ?? []), relocation]);
    }
    section.relocations = ordinary;
    for (const [owner, relocations] of tables) {
      file.livepatchRelocations.push({
        name: `${SECTION_PREFIX}${owner}.${section.name}`,
        target: section,
        relocations,
      });
    }
  }
  file.symbols = file.symbols.filter(({ name }) => !name.startsWith(aliasPrefix));
  for (const symbol of file.symbols) {
    // New globals are for the units of this livepatch alone.
    if (symbol.bind === STB_GLOBAL && sectionOf(symbol) !== undefined && !LOADER_NAMES.has(symbol.name))
      symbol.bind = STB_LOCAL;
  }
  // The gABI wants local symbols first.
  file.symbols.sort((a, b) => Number(a.bind !== STB_LOCAL) - Number(b.bind !== STB_LOCAL));
  for (const symbol of file.symbols) if (ownerOf(symbol) !== undefined) symbol.place = SHN_LIVEPATCH;
}
