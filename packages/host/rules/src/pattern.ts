/**
 * Patterns that JavaScript and the packages' loader (awk: POSIX extended regular expressions) read alike. They are
 * written once, as the source of a JavaScript expression of this subset: literals, `.`, `^`, `$`, `*`, `+`, `?`, `|`,
 * groups, sets, `\w`, `\d`, `\t`, escaped punctuation, and counts of at most 64. Both sides match lines of bounded
 * length.
 */
export type PatternSource = string;

/** Largest count that is written out: mawk 1.3.4 of Debian 12 has no `{n}`. */
const MOST = 64;

/** The JavaScript side. `.` also matches the line separators of Unicode, as it does in awk. */
export function patternOf(source: PatternSource): RegExp {
  return new RegExp(source, 's');
}

/**
 * The side of awk: an extended regular expression without counts, as it stands between slashes. Throws `Error` where
 * the source leaves the subset (a defect of the table).
 */
export function toEre(source: PatternSource): string {
  const reader = new Reader(source);
  let out = '';
  while (!reader.atEnd()) out += reader.repeated();
  return out;
}

const CLASSES: Readonly<Record<string, string>> = { w: 'A-Za-z0-9_', d: '0-9', t: '\\t' };

class Reader {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  atEnd(): boolean {
    return this.#at >= this.#source.length;
  }

  /** One part with the count behind it. */
  repeated(): string {
    const atom = this.#atom();
    const [whole, from, comma, to] = /^\{(\d+)(,?)(\d*)\}/.exec(this.#source.slice(this.#at)) ?? [];
    if (whole === undefined || from === undefined) return atom;
    this.#at += whole.length;
    const least = Number(from);
    const most = to === '' || to === undefined ? least : Number(to);
    if (least > MOST || most > MOST) throw this.#fault(`a count above ${MOST}`);
    if (comma === '') return atom.repeat(least);
    if (to !== '') return atom.repeat(least) + `${atom}?`.repeat(most - least);
    return least === 0 ? `${atom}*` : `${atom.repeat(least)}${atom}*`;
  }

  #atom(): string {
    const char = this.#next();
    if (char === '\\') return this.#escaped();
    if (char === '[') return this.#set();
    if (char === '(') return this.#group();
    if (char === '{' || char === '}') throw this.#fault('a brace');
    return char === '/' ? '\\/' : char;
  }

  #group(): string {
    if (this.#source.startsWith('?', this.#at)) {
      if (!this.#source.startsWith('?:', this.#at)) throw this.#fault('a lookaround or a name');
      this.#at += 2;
    }
    let out = '(';
    while (!this.#source.startsWith(')', this.#at)) {
      if (this.atEnd()) throw this.#fault('an open group');
      out += this.repeated();
    }
    this.#at += 1;
    return `${out})`;
  }

  #escaped(): string {
    const char = this.#next();
    if (char === 't') return '\\t';
    const set = CLASSES[char];
    if (set !== undefined) return `[${set}]`;
    if (/\w/.test(char)) throw this.#fault(`\\${char}`);
    return /[.[\]()*+?|^$\\{}/]/.test(char) ? `\\${char}` : char;
  }

  /** In a set of POSIX a backslash is no escape: `]` comes first, `-` last. */
  #set(): string {
    const negated = this.#source.startsWith('^', this.#at);
    if (negated) this.#at += 1;
    let first = '';
    let last = '';
    let rest = '';
    for (let char = this.#next(); char !== ']'; char = this.#next()) {
      const escaped = char === '\\' ? this.#next() : undefined;
      if (escaped !== undefined && CLASSES[escaped] !== undefined) rest += CLASSES[escaped];
      else if (escaped === ']') first = ']';
      else if (escaped === '-') last = '-';
      else if (escaped !== undefined && /[\w\\^]/.test(escaped)) throw this.#fault(`\\${escaped} in a set`);
      else rest += escaped ?? char;
    }
    return `[${negated ? '^' : ''}${first}${rest}${last}]`;
  }

  #next(): string {
    const char = this.#source[this.#at];
    if (char === undefined) throw this.#fault('a cut end');
    this.#at += 1;
    return char;
  }

  #fault(what: string): Error {
    return new Error(`the pattern ${this.#source} is not one that awk reads too: ${what}`);
  }
}
