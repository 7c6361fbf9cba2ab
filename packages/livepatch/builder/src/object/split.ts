import {
  type ElfSymbol,
  type Section,
  SHF_EXECINSTR,
  SHF_MERGE,
  STB_GLOBAL,
  STB_LOCAL,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
} from '@kmend/elf';
import type { Atom } from './atom.ts';
import { isPadding } from './code.ts';
import { isPrefixSymbol } from './names.ts';

/**
 * lib/ubsan.h, struct type_descriptor: kind (0, 1 or 0xffff) and information, 2 bytes each, then the name in quotation
 * marks.
 */
export function isTypeDescriptor({ data, flags }: Section, offset: number): boolean {
  if ((flags & SHF_EXECINSTR) !== 0 || data[offset + 4] !== QUOTE) return false;
  const kind = (data[offset] ?? 0) | ((data[offset + 1] ?? 0) << 8);
  const end = data.indexOf(0, offset + 4);
  return [0, 1, 0xffff].includes(kind) && end > offset + 5 && data[end - 1] === QUOTE;
}

const QUOTE = 0x27;

interface Span {
  readonly start: number;
  readonly end: number;
  readonly symbol: ElfSymbol;
  readonly aliases: readonly ElfSymbol[];
}

/** Whether a symbol names a part of its section, rather than a place in one. */
export function isNaming(symbol: ElfSymbol, section: Section): boolean {
  if (symbol.name === '' || isPrefixSymbol(symbol.name)) return false;
  if (symbol.type === STT_OBJECT || symbol.type === STT_FUNC) return true;
  // Assembler code without type or size annotations: what other units can call.
  const isCode = (section.flags & SHF_EXECINSTR) !== 0;
  return isCode && symbol.type === STT_NOTYPE && (symbol.size > 0 || symbol.bind !== STB_LOCAL);
}

/**
 * Cuts a section into its named parts and what lies between them. `symbols`: the naming ones of this section. `marks`:
 * places that something refers to; they separate nameless constants, which have no symbols of their own.
 */
export function splitSection(
  section: Section,
  symbols: readonly ElfSymbol[],
  prefixes: readonly ElfSymbol[],
  marks: ReadonlySet<number>,
  keyOf: (symbol: ElfSymbol) => string,
): Atom[] {
  const isCode = (section.flags & SHF_EXECINSTR) !== 0;
  if (isConstants(section) && symbols.length === 0) {
    const pieces: Atom[] = [];
    for (let start = 0; start < section.size; start += section.entrySize) {
      pieces.push(anonymous(section, start, Math.min(section.size, start + section.entrySize)));
    }
    return pieces;
  }
  const atoms: Atom[] = [];
  const sortedMarks = [...marks].sort((a, b) => a - b);
  let position = 0;
  let mark = 0;
  const gap = (end: number): void => {
    if (isCode && symbols.length > 0 && isPadding(section.data, position, end)) return;
    while ((sortedMarks[mark] ?? end) <= position) mark++;
    for (let next = sortedMarks[mark]; next !== undefined && next < end; next = sortedMarks[++mark]) {
      atoms.push(anonymous(section, position, next));
      position = next;
    }
    if (end > position) atoms.push(anonymous(section, position, end));
  };
  const types = new Map(prefixes.map((symbol) => [Number(symbol.value) + symbol.size, symbol]));
  for (const { start, end, symbol, aliases } of spansOf(section, symbols)) {
    const typed = types.get(start);
    const prefix = typed === undefined ? undefined : Number(typed.value);
    if (start > position) gap(prefix === undefined ? start : Math.max(position, prefix));
    atoms.push({
      kind: symbol.type === STT_FUNC || symbol.type === STT_NOTYPE ? 'function' : 'data',
      section,
      start,
      end,
      symbol,
      aliases,
      key: keyOf(symbol),
      ...(typed?.name.startsWith('__cfi_') && { prefix: Number(typed.value) }),
    });
    position = end;
  }
  if (section.size > position) gap(section.size);
  // Something without a size, such as a lock class key without lockdep: only its address is used.
  if (atoms.length === 0 && section.size === 0) atoms.push(anonymous(section, 0, 0));
  return atoms;
}

function anonymous(section: Section, start: number, end: number): Atom {
  return { kind: 'anonymous', section, start, end, aliases: [], key: '' };
}

/** Named stretches, ascending and disjoint; a symbol inside another's stretch is only a place in it. */
function spansOf(section: Section, symbols: readonly ElfSymbol[]): Span[] {
  const sorted = [...symbols].sort(
    (a, b) =>
      Number(a.value - b.value) || b.size - a.size || Number(b.bind === STB_GLOBAL) - Number(a.bind === STB_GLOBAL),
  );
  const isCode = (section.flags & SHF_EXECINSTR) !== 0;
  const spans: { start: number; end: number; symbol: ElfSymbol; aliases: ElfSymbol[] }[] = [];
  let position = 0;
  sorted.forEach((symbol, index) => {
    const start = Number(symbol.value);
    const last = spans.at(-1);
    if (last !== undefined && last.start === start) {
      last.aliases.push(symbol);
      return;
    }
    if (start < position || start > section.size) return;
    const end = symbol.size > 0 ? start + symbol.size : isCode ? endWithoutSize(section, sorted, index) : start;
    if (end === start || end > section.size) return;
    spans.push({ start, end, symbol, aliases: [] });
    position = end;
  });
  return spans;
}

/** Assembler code without a size reaches to the next name. */
function endWithoutSize(section: Section, sorted: readonly ElfSymbol[], index: number): number {
  const start = sorted[index]?.value ?? 0n;
  for (let next = index + 1; next < sorted.length; next++) {
    const value = sorted[next]?.value ?? 0n;
    if (value > start) return Number(value);
  }
  return section.size;
}

/** Constants of one size that the linker may merge; a section without bytes has none, whatever it says of itself. */
function isConstants(section: Section): boolean {
  return (section.flags & SHF_MERGE) !== 0 && section.entrySize > 0 && section.data.length === section.size;
}
