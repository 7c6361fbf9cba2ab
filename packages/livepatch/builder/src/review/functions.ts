import { type Token, textOf, tokensOf } from './tokens.ts';

/** What reviews see of one C file. */
export interface ScannedFile {
  /** Bodies of functions, and of macros with parameters, by name; two of one name (in branches of an `#if`) are one. */
  readonly functions: ReadonlyMap<string, readonly Token[]>;
  /** Values of macros without parameters; all of them, where branches of an `#if` differ. */
  readonly constants: ReadonlyMap<string, string>;
  /** Braces do not match: where functions begin and end is not certain. */
  readonly isBroken: boolean;
}

/** Stands for the insides of all braces that begin no function: initialisers, and what is not understood. */
export const OUTSIDE = 'outside functions';

/**
 * Annotations that stand before a function's name or behind its parameters (include/linux/compiler_types.h,
 * compiler_attributes.h).
 */
const ANNOTATION =
  /^__(?:attribute|acquires?|releases?|must_hold|cond_acquires|acquires_shared|releases_shared|printf|scanf|aligned|section|alloc_size|malloc|assume_aligned|no_sanitize|alias|copy|nonnull)(?:__)?$/;

/** Finds the functions of a C file by its braces; all branches of an `#if` count, but those of `#if 0` do not. */
export function scanFile(text: string): ScannedFile {
  return new Scanner().run(tokensOf(text));
}

class Scanner {
  readonly #functions = new Map<string, Token[]>();
  readonly #constants = new Map<string, string>();
  /** Open `#if`s: the depth of braces in front, and behind the first branch. */
  readonly #branches: { readonly before: number; first?: number }[] = [];
  /** Depth of `#if`s inside an `#if 0`; 0 outside. */
  #skipped = 0;
  #depth = 0;
  #isBroken = false;
  /** What stands before a brace at the outermost level. */
  #header: Token[] = [];
  #body: Token[] | undefined;
  #isFunction = false;

  run(tokens: readonly Token[]): ScannedFile {
    for (const token of tokens) {
      if (token.kind === 'directive') this.#directive(token.text);
      else if (this.#skipped === 0) this.#token(token);
    }
    const isBroken = this.#isBroken || this.#depth !== 0 || this.#branches.length > 0;
    return { functions: this.#functions, constants: this.#constants, isBroken };
  }

  #token(token: Token): void {
    if (token.text === '}') {
      if (--this.#depth > 0) this.#body?.push(token);
      else this.#close(token);
    } else if (token.text === '{') {
      if (this.#depth++ > 0) this.#body?.push(token);
      else this.#open();
    } else if (this.#depth > 0) this.#body?.push(token);
    else if (token.text === ';') this.#header = [];
    else this.#header.push(token);
  }

  #open(): void {
    const name = functionName(this.#header);
    this.#isFunction = name !== undefined;
    this.#body = this.#bodyOf(name ?? OUTSIDE);
  }

  #close(token: Token): void {
    if (this.#depth < 0) {
      this.#isBroken = true;
      this.#depth = 0;
    }
    // Behind a function something new begins; behind a struct or an initialiser it goes on.
    if (this.#isFunction) this.#header = [];
    else this.#header.push(token);
    this.#isFunction = false;
    this.#body = undefined;
  }

  #bodyOf(name: string): Token[] {
    const known = this.#functions.get(name) ?? [];
    this.#functions.set(name, known);
    return known;
  }

  #directive(text: string): void {
    const [word = ''] = /^\w+/.exec(text) ?? [];
    if (this.#skipped > 0) {
      if (word.startsWith('if')) this.#skipped++;
      else if (word === 'endif') this.#skipped--;
      else if (this.#skipped === 1 && word.startsWith('el')) {
        this.#skipped = 0;
        this.#branches.push({ before: this.#depth });
      }
    } else if (/^if\s+0\b/.test(text)) this.#skipped = 1;
    else if (word.startsWith('if')) this.#branches.push({ before: this.#depth });
    else if (word.startsWith('el')) this.#endBranch(false);
    else if (word === 'endif') this.#endBranch(true);
    else if (word === 'define') this.#define(text);
  }

  /** The other branches start as deep as the first did, and the code goes on as deep as the first ended. */
  #endBranch(isLast: boolean): void {
    const branch = this.#branches.at(-1);
    if (branch === undefined) {
      this.#isBroken = true;
      return;
    }
    branch.first ??= this.#depth;
    this.#depth = isLast ? branch.first : branch.before;
    if (isLast) this.#branches.pop();
  }

  #define(text: string): void {
    const [, name, parameters, value = ''] = /^define\s+(\w+)(\([^)]*\))?\s*([\s\S]*)$/.exec(text) ?? [];
    if (name === undefined) return;
    const tokens = tokensOf(value);
    if (parameters !== undefined) this.#bodyOf(name).push(...tokens);
    else {
      const known = this.#constants.get(name);
      this.#constants.set(name, known === undefined ? textOf(tokens) : `${known} or ${textOf(tokens)}`);
    }
  }
}

/**
 * The name of the function that a header begins; `undefined` where it begins something else: a struct, an initialiser.
 */
function functionName(header: readonly Token[]): string | undefined {
  let depth = 0;
  let name: string | undefined;
  for (const [index, token] of header.entries()) {
    if (token.text === '(') {
      const before = header[index - 1];
      if (depth++ === 0 && before?.kind === 'word' && !ANNOTATION.test(before.text)) {
        // SYSCALL_DEFINE3(shmat, ...) and its like make a function of their first argument.
        const first = header[index + 1]?.text ?? '';
        name = /^[A-Z][A-Z0-9_]*$/.test(before.text) ? `${before.text}(${first})` : before.text;
      }
    } else if (token.text === ')') depth--;
    else if (token.text === '=' && depth === 0) return undefined;
  }
  return header.at(-1)?.text === ')' ? name : undefined;
}
