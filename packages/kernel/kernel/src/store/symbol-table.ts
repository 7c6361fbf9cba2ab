import type { KernelSymbol } from '../kernel.ts';

const NOT_A_LINE = /[^0-9a-f]/;

/**
 * A kernel's symbols by name and by address, over the text that `symbolsText` made: a build asks for a few hundred of a
 * hundred thousand, so that a symbol is only made of its line when it is asked for.
 */
export class SymbolTable {
  readonly #lines: readonly string[];
  /** Line numbers of each name, in kallsyms order. */
  readonly #byName = new Map<string, number | number[]>();
  /** Line numbers in order of address. */
  #byAddress: Uint32Array | undefined;

  /** Throws `garbage` with the first line that is none of a symbol's. */
  constructor(text: string, garbage: (line: string) => Error) {
    this.#lines = text.split('\n').slice(0, -1);
    for (let index = 0; index < this.#lines.length; index++) {
      const line = this.#lines[index] ?? '';
      const space = line.indexOf(' ', 2);
      if (line[1] !== ' ' || space < 3 || space > 18 || NOT_A_LINE.test(line.slice(2, space))) throw garbage(line);
      const name = line.slice(space + 1);
      const before = this.#byName.get(name);
      if (before === undefined) this.#byName.set(name, index);
      else if (typeof before === 'number') this.#byName.set(name, [before, index]);
      else before.push(index);
    }
  }

  get size(): number {
    return this.#lines.length;
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /** All symbols of a name, in kallsyms order: the order `sympos` counts in. */
  named(name: string): KernelSymbol[] {
    const found = this.#byName.get(name);
    if (found === undefined) return [];
    return (typeof found === 'number' ? [found] : found).map((index) => this.#symbol(index));
  }

  /** Names of all symbols at an address. */
  namesAt(address: bigint): string[] {
    this.#byAddress ??= this.#sorted();
    const order = this.#byAddress;
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#address(order[middle] ?? 0) < address) low = middle + 1;
      else high = middle;
    }
    const names: string[] = [];
    for (; low < order.length && this.#address(order[low] ?? 0) === address; low++)
      names.push(this.#symbol(order[low] ?? 0).name);
    return names;
  }

  all(): KernelSymbol[] {
    return this.#lines.map((_, index) => this.#symbol(index));
  }

  #symbol(index: number): KernelSymbol {
    const line = this.#lines[index] ?? '';
    return { type: line.slice(0, 1), address: this.#address(index), name: line.slice(line.indexOf(' ', 2) + 1) };
  }

  #address(index: number): bigint {
    const line = this.#lines[index] ?? '';
    return BigInt(`0x${line.slice(2, line.indexOf(' ', 2))}`);
  }

  /**
   * Kernels list their symbols by address; where one does not, they are sorted, those of one address in their order.
   */
  #sorted(): Uint32Array {
    const order = Uint32Array.from(this.#lines.keys());
    const key = (index: number): string =>
      (this.#lines[index] ?? '').slice(2).split(' ', 1)[0]?.padStart(16, '0') ?? '';
    let before = '';
    let ascending = true;
    for (let index = 0; index < order.length && ascending; index++) {
      const now = key(index);
      ascending = before <= now;
      before = now;
    }
    if (ascending) return order;
    const keys = Array.from(order, key);
    return order.sort((a, b) => {
      const [first = '', second = ''] = [keys[a], keys[b]];
      return first < second ? -1 : first > second ? 1 : a - b;
    });
  }
}
