/** More words than this are quicker found in an index of all. */
const SEARCHES = 60;

/** Which declarations of a text mention a word. */
export class Places {
  readonly #text: string;
  readonly #ends: readonly number[];
  #searches = 0;
  #index: ReadonlyMap<string, readonly number[]> | undefined;

  /** `ends`: where each declaration ends, rising. */
  constructor(text: string, ends: readonly number[]) {
    this.#text = text;
    this.#ends = ends;
  }

  /** One declaration, by its number. */
  text(at: number): string {
    return this.#text.slice(at === 0 ? 0 : this.#ends[at - 1], this.#ends[at]).trim();
  }

  /** Numbers of the declarations that mention a word, rising. */
  of(word: string): readonly number[] {
    if (this.#index === undefined && this.#searches++ < SEARCHES) return this.#search(word);
    this.#index ??= this.#indexed();
    return this.#index.get(word) ?? [];
  }

  #search(word: string): number[] {
    const found: number[] = [];
    for (let from = this.#text.indexOf(word); from !== -1; ) {
      let next = from + word.length;
      if (!isWord(this.#text.charCodeAt(from - 1)) && !isWord(this.#text.charCodeAt(next))) {
        const at = this.#declarationAt(from);
        found.push(at);
        next = this.#ends[at] ?? this.#text.length;
      }
      from = this.#text.indexOf(word, next);
    }
    return found;
  }

  /** The first that ends behind an offset. */
  #declarationAt(offset: number): number {
    let [low, high] = [0, this.#ends.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #indexed(): ReadonlyMap<string, readonly number[]> {
    const index = new Map<string, number[]>();
    for (const at of this.#ends.keys()) {
      for (const word of new Set(this.text(at).match(/[A-Za-z_]\w*/g))) {
        const places = index.get(word);
        if (places === undefined) index.set(word, [at]);
        else places.push(at);
      }
    }
    return index;
  }
}

function isWord(code: number): boolean {
  // NaN where the text ends.
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57) || code === 95;
}
