import { mentions } from './entities.ts';

const IDENTIFIER = /[A-Za-z_]\w*/g;

/** Follows names through the definitions of many texts to the names that are defined with them. */
export class Users {
  #names: Set<string>;
  /** Macros among them that make names of parts (`##`), by themselves or through others. */
  #pasting = new Set<string>();

  constructor(names: Iterable<string>) {
    this.#names = new Set(names);
  }

  /** What was started with, and all that is defined with it. */
  get names(): ReadonlySet<string> {
    return this.#names;
  }

  /**
   * Notes what a text defines with a known name: those that are now to be looked for. `unclear`: it gives one to a
   * macro that may define anything with it (include/linux/page-flags.h, `PAGEFLAG(Dirty, dirty, PF_HEAD)`): whatever
   * includes the text may use that.
   */
  scan(text: string): string[] | 'unclear' {
    const fresh = new Set<string>();
    const known = { names: new Set(this.#names), pasting: new Set(this.#pasting) };
    for (let size = -1; size !== fresh.size; ) {
      size = fresh.size;
      for (const [name, definition] of mentions(text, this.#names)) {
        const lines = definition.split('\n');
        const macros = lines.filter((line) => /^\s*#\s*define\b/.test(line));
        const code = lines.filter((line) => !macros.includes(line));
        if (code.some((line) => isInvocation(line) || this.#pastes(line, name, false))) {
          // Another text may define the same names, and its users are still to be looked for.
          this.#names = known.names;
          this.#pasting = known.pasting;
          return 'unclear';
        }
        if (!this.#names.has(name)) fresh.add(name);
        if (!this.#pasting.has(name) && macros.some((line) => line.includes('##') || this.#pastes(line, name, true))) {
          // Who uses it was looked for as what uses any other name.
          this.#pasting.add(name);
          fresh.add(name);
        }
      }
      for (const name of fresh) this.#names.add(name);
    }
    return [...fresh];
  }

  /** Whether a line mentions a macro that makes names; `isMacro`: the line defines one, `own`. */
  #pastes(line: string, own: string, isMacro: boolean): boolean {
    if (this.#pasting.size === 0) return false;
    return [...line.matchAll(IDENTIFIER)].some(([word]) => this.#pasting.has(word) && !(isMacro && word === own));
  }
}

/** Whether a definition is what a macro makes of its arguments: TRACE_EVENT(...), PAGEFLAG(...). */
function isInvocation(line: string): boolean {
  return /^(?:static |extern |inline )*[A-Z][A-Z_0-9]+ ?\(/.test(line);
}
