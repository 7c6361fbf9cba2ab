import {
  type ElfFile,
  type ElfSymbol,
  isPcRelative,
  type Relocation,
  type Section,
  STT_FUNC,
  STT_OBJECT,
  STT_SECTION,
  sectionOf,
} from '@kmend/elf';

/** What the source calls a symbol: without `.isra.0`, `.cold` and the number of a static variable inside a function. */
export function sourceName(symbol: string): string {
  const dot = symbol.indexOf('.', 1);
  return dot === -1 ? symbol : symbol.slice(0, dot);
}

export type References = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * For each function, by its name in the source, the functions and variables that its code refers to, by theirs. Debug
 * information does not tell: `conf.limit = 3` leaves only a relocation.
 */
export function references(file: ElfFile): References {
  const symbols = new Map<Section, ElfSymbol[]>();
  for (const symbol of file.symbols) {
    const section = sectionOf(symbol);
    if (section === undefined || (symbol.type !== STT_FUNC && symbol.type !== STT_OBJECT)) continue;
    const list = symbols.get(section);
    if (list === undefined) symbols.set(section, [symbol]);
    else list.push(symbol);
  }
  for (const list of symbols.values()) list.sort((a, b) => Number(a.value - b.value));
  const found = new Map<string, Set<string>>();
  for (const [section, list] of symbols) {
    for (const relocation of section.relocations) {
      const user = at(list, relocation.offset);
      if (user?.type !== STT_FUNC) continue;
      const name = sourceName(user.name);
      const used = found.get(name) ?? new Set();
      found.set(name, used);
      for (const target of targets(relocation, symbols)) used.add(sourceName(target));
    }
  }
  return found;
}

/** The last symbol that begins at or before an offset. */
function at(sorted: readonly ElfSymbol[], offset: number): ElfSymbol | undefined {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Number(sorted[middle]?.value) <= offset) low = middle + 1;
    else high = middle;
  }
  return sorted[low - 1];
}

function targets({ symbol, addend, type }: Relocation, symbols: ReadonlyMap<Section, readonly ElfSymbol[]>): string[] {
  if (symbol.type !== STT_SECTION) return [symbol.name];
  const list = symbols.get(sectionOf(symbol) as Section) ?? [];
  // A relative field counts from the end of its instruction, which is 4 to 8 bytes behind its beginning: both may be
  // meant.
  const places = isPcRelative(type) ? [Number(addend) + 4, Number(addend) + 8] : [Number(addend)];
  return places.flatMap((place) => at(list, place)?.name ?? []);
}
