import { type Section, STT_FUNC, STT_OBJECT, sectionOf } from '@kmend/elf';
import { type Address, lastNotAbove } from './address.ts';
import type { Findings } from './finding.ts';
import { decode, type Instruction } from './instructions.ts';
import type { Filled, Loaded } from './loaded.ts';
import { type Reference, referencesOf } from './references.ts';

/** A function of the livepatch, decoded as it is in memory. */
export interface OwnFunction {
  readonly name: string;
  readonly section: Section;
  /** Offset in its section. */
  readonly start: number;
  readonly size: number;
  readonly address: Address;
  readonly code: Uint8Array;
  readonly instructions: readonly Instruction[];
  /** Offsets in the function at which an instruction begins. */
  readonly boundaries: ReadonlySet<number>;
  readonly references: readonly Reference[];
}

export interface OwnData {
  readonly name: string;
  readonly section: Section;
  readonly start: number;
  readonly size: number;
}

/** Functions and variables of the livepatch by where they lie. */
export class OwnCode {
  readonly functions: readonly OwnFunction[];
  readonly data: readonly OwnData[];
  readonly #loaded: Loaded;
  readonly #bySection = new Map<Section, { readonly starts: number[]; readonly functions: OwnFunction[] }>();
  readonly #dataBySection = new Map<Section, { readonly starts: number[]; readonly data: OwnData[] }>();

  constructor(loaded: Loaded, findings: Findings) {
    this.#loaded = loaded;
    const functions: OwnFunction[] = [];
    const data: OwnData[] = [];
    const known = new Set<Address>();
    for (const symbol of loaded.file.symbols) {
      const section = sectionOf(symbol);
      const base = section === undefined ? undefined : loaded.base(section);
      if (section === undefined || base === undefined || symbol.size === 0) continue;
      const own = { name: symbol.name, section, start: Number(symbol.value), size: symbol.size };
      if (symbol.type === STT_OBJECT) data.push(own);
      if (symbol.type !== STT_FUNC || !loaded.isCode(section)) continue;
      const place = base + own.start;
      if (known.has(place)) continue;
      known.add(place);
      const read = this.#read(own, base);
      if (read === undefined)
        findings.add('code-unreadable', `the code of ${symbol.name} cannot be read as instructions`, {
          symbol: symbol.name,
        });
      else functions.push(read);
    }
    // Code that has no symbol: replacements of alternatives, and what they jump to (.altinstr_aux).
    for (const section of loaded.fields.keys()) {
      if (!loaded.isCode(section) || section.size === 0 || functions.some((one) => one.section === section)) continue;
      const read = this.#stretches(section);
      if (read === undefined)
        findings.add('code-unreadable', `the code in ${section.name} cannot be read as instructions`);
      else functions.push(...read);
    }
    this.functions = functions;
    this.data = data;
    for (const one of [...functions].sort(byStart)) {
      const there = this.#bySection.get(one.section) ?? { starts: [], functions: [] };
      there.starts.push(one.start);
      there.functions.push(one);
      this.#bySection.set(one.section, there);
    }
    for (const one of [...data].sort(byStart)) {
      const there = this.#dataBySection.get(one.section) ?? { starts: [], data: [] };
      there.starts.push(one.start);
      there.data.push(one);
      this.#dataBySection.set(one.section, there);
    }
  }

  functionAt(address: Address): { readonly function: OwnFunction; readonly offset: number } | undefined {
    const place = this.#loaded.at(address);
    const there = place === undefined ? undefined : this.#bySection.get(place.section);
    if (place === undefined || there === undefined) return undefined;
    const found = there.functions[lastNotAbove(there.starts, place.offset)];
    if (found === undefined || place.offset >= found.start + found.size) return undefined;
    return { function: found, offset: place.offset - found.start };
  }

  dataAt(section: Section, offset: number): OwnData | undefined {
    const there = this.#dataBySection.get(section);
    const found = there?.data[lastNotAbove(there.starts, offset)];
    return found !== undefined && offset < found.start + found.size ? found : undefined;
  }

  /** Whether an instruction of the livepatch begins at an address. */
  isInstruction(address: Address): boolean {
    const found = this.functionAt(address);
    return found?.function.boundaries.has(found.offset) ?? false;
  }

  /**
   * Code without symbols, cut behind each jump and return: nothing falls through there. In `.altinstr_aux` lie the
   * pieces of functions of different objects, side by side, which have nothing to do with each other.
   */
  #stretches(section: Section): OwnFunction[] | undefined {
    const instructions = decode(this.#loaded.memory(section));
    if (instructions === undefined) return undefined;
    const found: OwnFunction[] = [];
    let start = 0;
    for (const [index, { at, length, flow, map, opcode }] of instructions.entries()) {
      const isReturn = map === 0 && (opcode === 0xc3 || opcode === 0xc2);
      if (flow !== 'jump' && !isReturn && index < instructions.length - 1) continue;
      const size = at + length - start;
      const read = this.#read({ name: section.name, section, start, size }, this.#loaded.base(section) ?? 0);
      if (read === undefined) return undefined;
      found.push(read);
      start += size;
    }
    return found;
  }

  #read(own: OwnData, sectionBase: Address): OwnFunction | undefined {
    const fields = this.#loaded.fields.get(own.section);
    const code = this.#loaded.memory(own.section).subarray(own.start, own.start + own.size);
    const instructions = decode(code);
    if (instructions === undefined || code.length !== own.size) return undefined;
    const address = sectionBase + own.start;
    const filled = (at: number): Filled | undefined => fields?.get(own.start + at);
    const references = referencesOf(code, address, instructions, (field) => filled(field.at) !== undefined);
    return { ...own, address, code, instructions, boundaries: new Set(instructions.map(({ at }) => at)), references };
  }
}

function byStart(a: OwnData, b: OwnData): number {
  return a.start - b.start;
}

/** Symbols without what compilers number them with: `count.3`, `foo.constprop.0`, `foo.cold`. */
export function baseName(name: string): string {
  return name.replace(/(?:\.(?:\d+|cold|part|isra|constprop|llvm))+$/, '');
}

/** Code without a symbol, which functions jump into and which jumps back into them. */
export function isNameless({ name, section }: OwnFunction): boolean {
  return name === section.name;
}
