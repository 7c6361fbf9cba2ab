import type { Likened } from './likeness.ts';
import { baseName } from './own-code.ts';
import { type ChangedWords, squeezed } from './source-words.ts';

export interface ReferenceDifference {
  readonly before?: Likened;
  readonly after?: Likened;
}

/** Functions that compilers call on their own, for an operator or an array in the source. */
const MEMORY = /^(?:__)?(?:mem(?:cpy|set|move|cmp)|str(?:len|cmp|ncmp))$/;
/** Symbols that they add to every function. */
const FRAME =
  /^(?:__fentry__|fixed_percpu_data|__stack_chk_fail|__x86_\w*thunk\w*|__ubsan_\w+|__fortify_\w+|fortify_panic|__SCT__.*|copy_overflow|__(?:read|write)_overflow\w*)$/;
/** arch/x86/lib/retpoline.S: one a register. */
const THUNK = /^__x86_indirect_(?:call_|jump_)?thunk_r\w+$/;
/** Each copy is its own: once-flags, lock classes, names of functions, messages, records of debugging. */
export const OWN_COPY =
  /^(?:__key|__warned|__already_done|__func__|__FUNCTION__|__PRETTY_FUNCTION__|__msg|_rs|_entry|_entry_ptr|CSWTCH|descriptor|__UNIQUE_ID_.*|once|___done|___once_key|__print_once|__section_name)$/;

/** How a judge reads what a reference leads to. */
export interface Readings {
  /** The symbols that lie there. */
  readonly names: (one: Likened) => readonly string[];
  /** The string that lies there, if it is one. */
  readonly text: (one: Likened) => string | undefined;
}

/**
 * Decides whether a difference between what the shipped and the new function refer to comes from the lines that the
 * fixes change.
 */
export class Judge {
  readonly #words: ChangedWords;
  readonly #unit: string;
  /** Names that the new code does not refer to any more in some place, and that it refers to in another. */
  readonly #gone: readonly string[];
  readonly #come: readonly string[];
  readonly #names: Readings['names'];
  readonly #text: Readings['text'];

  constructor(
    words: ChangedWords,
    unit: string,
    differences: readonly ReferenceDifference[],
    { names, text }: Readings,
  ) {
    this.#words = words;
    this.#unit = unit;
    this.#names = names;
    this.#text = text;
    this.#come = differences.flatMap(({ after }) => (after === undefined ? [] : names(after).map(baseName)));
    this.#gone = differences.flatMap(({ before }) => (before === undefined ? [] : names(before).map(baseName)));
  }

  /**
   * A reference that only the new code has, and the shipped one in its place if there is one. `isCopy`: to what the
   * livepatch has itself.
   */
  async comesFromFix(after: Likened, before: Likened | undefined, isCopy: boolean): Promise<boolean> {
    const text = this.#text(after);
    if (text !== undefined) return this.#isTextOfFix(text);
    const fresh = this.#names(after);
    if (fresh.length === 0) return true;
    const old = before === undefined ? [] : this.#names(before);
    if (old.length === 0 && isCopy && fresh.some((name) => OWN_COPY.test(baseName(name)))) return true;
    if (old.length === 0)
      return this.#isMade(fresh) || (await this.#isConnected(fresh)) || (await this.#leads(fresh, this.#gone));
    if (fresh.some((name) => MEMORY.test(name)) && old.some((name) => MEMORY.test(name))) return true;
    // The register that an indirect call goes through is the compiler's choice.
    if (fresh.some((name) => THUNK.test(name)) && old.some((name) => THUNK.test(name))) return true;
    const bases = old.map(baseName);
    if (fresh.some((name) => OWN_COPY.test(baseName(name)) && bases.includes(baseName(name)))) return true;
    // What is inlined now, or was before.
    if ((await this.#leads(old, fresh)) || (await this.#leads(fresh, old))) return true;
    const isFresh = (await this.#isConnected(fresh)) || (this.#isMade(fresh) && !this.#isMade(old));
    // A copy that the compiler makes by a call, or no more, only happens to stand in that place.
    return isFresh && (old.some((name) => MEMORY.test(name)) || (await this.#isConnected(old)));
  }

  /**
   * Whether the source of a function itself names another one. The compiler may have put the callee into the shipped
   * function and leave it out of the new one, where the fix made it longer; or the other way round.
   */
  async calls(caller: string, callee: string): Promise<boolean> {
    return (await this.#words.within(this.#unit, baseName(caller))).has(baseName(callee));
  }

  /** A reference that only the shipped code has; `near`: names of what lies beside it. */
  async goesWithFix(before: Likened, near: readonly string[]): Promise<boolean> {
    const old = [...this.#names(before), ...near];
    return (
      old.length === 0 ||
      this.#isMade(old) ||
      old.some((name) => OWN_COPY.test(baseName(name))) ||
      (await this.#isConnected(old)) ||
      (await this.#leads(this.#come, old))
    );
  }

  async #isTextOfFix(text: string): Promise<boolean> {
    if (this.#words.texts.some((part) => isTextOf(text, unescaped(part)))) return true;
    const made = squeezed(text);
    if (made.length < SHORTEST_TEXT) return false;
    if (this.#words.squeezed.some((lines) => lines.includes(made))) return true;
    // `"&x->wait"` is made by init_completion(), `"fs/smb/client/cached_dir.c"` by cifs_dbg().
    const closure = await this.#words.closure(this.#unit, []);
    return closure.says(text) || (closure.has('__FILE__') && text === this.#unit);
  }

  #isMade(names: readonly string[]): boolean {
    return names.some((name) => FRAME.test(name) || MEMORY.test(name));
  }

  async #isConnected(names: readonly string[]): Promise<boolean> {
    const bases = names.map(baseName);
    if (bases.some((name) => this.#words.has(name))) return true;
    const closure = await this.#words.closure(
      this.#unit,
      this.#gone.filter((name) => !bases.includes(name)),
    );
    return bases.some((name) => closure.has(name));
  }

  async #leads(from: readonly string[], to: readonly string[]): Promise<boolean> {
    for (const name of from.map(baseName)) {
      const bodies = await this.#words.bodies(this.#unit, name);
      if (to.some((one) => bodies.has(baseName(one)))) return true;
    }
    return false;
  }
}

/** Shorter ones are parts of many. */
const SHORTEST_TEXT = 6;

/** A literal, or one that a macro put something in front of. */
function isTextOf(text: string, part: string): boolean {
  return part.length < SHORTEST_TEXT ? text === part : text.includes(part);
}

function unescaped(text: string): string {
  return text
    .replaceAll(/\\n/g, '\n')
    .replaceAll(/\\t/g, '\t')
    .replaceAll(/\\(["\\])/g, '$1');
}
