import type { ElfFile } from '@kmend/elf';
import type { CodeOf } from '@kmend/protocol';
import { type Dwarf, missingDwarf, readDwarf } from '../dwarf/index.ts';
import type { Reason } from '../types.ts';
import { compareConstants, comparePrototypes, compareStaticLocals, compareVariables } from './types/declarations.ts';
import { type ChangedEnumeration, compareEnumerations } from './types/enumerations.ts';
import { type ChangedLayout, compareLayouts } from './types/layouts.ts';
import { type References, references, sourceName } from './types/references.ts';
import { pairScopes, type Scope } from './types/scope.ts';
import { typeKey, Usage, type Users } from './types/usage.ts';

/** What a livepatch replaces and brings, by symbol name. */
export interface LivepatchFunctions {
  readonly changed: readonly string[];
  readonly added: readonly string[];
  /**
   * Changed headers, by their paths in the tree. Every unit that can include one is built and compared too: callers of
   * a function that the header declares otherwise than before are then changed, and so replaced as well.
   */
  readonly headers?: readonly string[];
}

const SHOWN = 8;

/**
 * `compareTypes` of two objects; where one lacks debug information, that the types could not be compared is the reason.
 */
export function checkTypes(
  source: string,
  original: ElfFile,
  patched: ElfFile,
  functions: LivepatchFunctions,
): Reason[] {
  if (functions.changed.length + functions.added.length === 0) return [];
  const [before, after] = [readDwarf(original), readDwarf(patched)];
  if (before !== undefined && after !== undefined) return compareTypes(source, before, after, functions);
  const why = missingDwarf(before === undefined ? original : patched);
  const message = `types, layouts and enumerations were not compared: of the ${before === undefined ? 'original' : 'patched'} object, ${why}`;
  return [{ code: 'types-unchecked', verdict: 'needs-review', message, source }];
}

/**
 * Compares what the debug information of a unit's two objects says about everything that the functions of a livepatch
 * touch: layouts, enumerations, constants, variables and prototypes. The running kernel's objects were made by the
 * original code, and new code is about to use them. `source` is the unit's path; what only that file declares, other
 * units cannot know.
 */
export function compareTypes(source: string, original: Dwarf, patched: Dwarf, functions: LivepatchFunctions): Reason[] {
  const livepatch = new Set([...functions.changed, ...functions.added].map(sourceName));
  if (livepatch.size === 0) return [];
  const pairs = pairScopes(original, patched);
  return pairs.flatMap(([before, after]) => {
    // Of several units, those that the livepatch changes nothing in are as they were.
    const isConcerned = pairs.length === 1 || [...livepatch].some((name) => after.functions.has(name));
    if (!isConcerned) return [];
    return new UnitTypes(source, before, after, livepatch, functions.headers ?? []).reasons();
  });
}

class UnitTypes {
  readonly #source: string;
  readonly #original: Scope;
  readonly #patched: Scope;
  readonly #livepatch: ReadonlySet<string>;
  readonly #references: References;
  readonly #headers: readonly string[];
  #usage: Usage | undefined;

  constructor(
    source: string,
    original: Scope,
    patched: Scope,
    livepatch: ReadonlySet<string>,
    headers: readonly string[],
  ) {
    this.#source = source;
    this.#original = original;
    this.#patched = patched;
    this.#livepatch = livepatch;
    this.#references = references(patched.dwarf.file);
    this.#headers = headers;
  }

  reasons(): Reason[] {
    const scopes = [this.#original, this.#patched] as const;
    return [
      ...compareLayouts(...scopes).map((changed) => this.#layout(changed)),
      ...this.#added(),
      ...compareEnumerations(...scopes).map((changed) => this.#enumeration(changed)),
      ...this.#constants(),
      ...this.#prototypes(),
      ...this.#variables(),
    ];
  }

  /** Made when something changed, which is rare: it reads all of the unit's debug information. */
  get #users(): Usage {
    this.#usage ??= new Usage(this.#patched, this.#livepatch, this.#references);
    return this.#usage;
  }

  #layout({ name, differences, holders }: ChangedLayout): Reason {
    const { functions, others } = this.#users.of(name);
    const entry = this.#patched.aggregates.get(name);
    const what = list(
      differences.map(({ text }) => text),
      '; ',
    );
    const held = holders.length === 0 ? '' : `; with it ${list(holders)}, of which it is a part`;
    const changes = `${name} changes: ${what}${held}`;
    if (functions.length === 0) {
      return this.#review(
        'type-layout-review',
        `${changes}; no function of the livepatch is seen to touch it, but a cast would not be seen`,
        name,
      );
    }
    const touched = `touched by ${listUsers(functions)}`;
    if (differences.every(({ kind }) => kind === 'renamed' || kind === 'reinterpreted')) {
      const message = `${changes}; every member stays in its place, but live objects were filled in under the old meaning; ${touched}`;
      return this.#review('type-layout-review', message, name);
    }
    const isLocal = entry !== undefined && this.#patched.isOwn(this.#source, entry);
    if (isLocal && others.length === 0) {
      const message = `${changes}; only functions of the livepatch know the type, but objects made before may hang off an untyped pointer; ${touched}`;
      return this.#review('type-layout-review', message, name);
    }
    return this.#refusal('type-layout-changed', `${changes}; live objects have the old layout; ${touched}`, name);
  }

  /**
   * A new struct behind an untyped pointer is how the new code sees objects that other code makes: /proc/net/ptype,
   * registered at boot, goes on to give each reader a `seq->private` of the old size, and what the new code writes
   * behind it corrupts memory.
   */
  #added(): Reason[] {
    const fresh = new Map([...this.#patched.aggregates].filter(([name]) => !this.#original.aggregates.has(name)));
    const names = new Set(fresh.keys());
    return [...fresh].flatMap(([name, entry]) => {
      // Others are old types of the kernel that the unit did not use before.
      const isNew = this.#patched.isOwn(this.#source, entry) || this.#patched.isDeclaredIn(this.#headers, entry);
      const functions = isNew ? this.#users.ofUntyped(name, names) : [];
      if (functions.length === 0) return [];
      const { size } = this.#patched.reader.layout(entry);
      const message =
        `${name} (${size} bytes) is new, and pointers to it are made of untyped ones; ` +
        `objects that the running kernel has made, or will make of a size that it was told before, hold something else there and may be smaller; used by ${listUsers(functions)}`;
      return [this.#review('type-added', message, name)];
    });
  }

  #enumeration({ title, name, entry, differences, onlyBound }: ChangedEnumeration): Reason {
    const key = typeKey({ entry, name }) ?? title;
    const { functions } = this.#users.of(key);
    const touched =
      functions.length === 0 ? 'where it is used as a plain number is not seen' : `touched by ${listUsers(functions)}`;
    const message = `the values of ${title} change: ${list(differences)}; live objects may hold the old ones; ${touched}`;
    // One without a name is made to be used as plain numbers.
    const isSeen = name === undefined || functions.length > 0;
    const isShared = !this.#patched.isOwn(this.#source, entry) || this.#users.isMemberType(key);
    return isSeen && isShared && !onlyBound
      ? this.#refusal('enum-value-changed', message, title)
      : this.#review('enum-value-changed', message, title);
  }

  #constants(): Reason[] {
    return compareConstants(this.#original, this.#patched).map(({ name, before, after }) => {
      const message = `the constant ${name} changes from ${before} to ${after}; live objects may hold the old value`;
      return this.#review('constant-value-changed', message, name);
    });
  }

  #prototypes(): Reason[] {
    const names = new Set([...this.#livepatch, ...this.#referenced()]);
    return comparePrototypes(this.#original, this.#patched, names).map(({ name, before, after, compatible }) => {
      const message = `${name}, which other units use, changes from ${before} to ${after}`;
      if (compatible) return this.#review('prototype-changed', message, name);
      // Modules that were not built here may use an export.
      if (this.#headers.length === 0 || isExported(this.#original.dwarf.file, name)) {
        return this.#refusal('prototype-changed', message, name);
      }
      const all = `${message}; all its callers have to be part of the livepatch`;
      return this.#review('prototype-changed', all, name);
    });
  }

  #variables(): Reason[] {
    const scopes = [this.#original, this.#patched] as const;
    const statics = [...this.#livepatch].flatMap((name) => compareStaticLocals(...scopes, name));
    const globals = compareVariables(...scopes, this.#referenced());
    return [...globals, ...statics].map(({ name, before, after, compatible }) => {
      const message = `the variable ${name} changes from ${before} to ${after}; the running kernel's holds the old`;
      return compatible ? this.#review('data-retyped', message, name) : this.#refusal('data-retyped', message, name);
    });
  }

  /** What the code of the livepatch's functions refers to. */
  #referenced(): Set<string> {
    return new Set([...this.#livepatch].flatMap((name) => [...(this.#references.get(name) ?? [])]));
  }

  #refusal(code: CodeOf<'refused'>, message: string, symbol: string): Reason {
    return { code, verdict: 'refused', message, source: this.#source, symbol };
  }

  #review(code: CodeOf<'needs-review'>, message: string, symbol: string): Reason {
    return { code, verdict: 'needs-review', message, source: this.#source, symbol };
  }
}

/**
 * `EXPORT_SYMBOL` leaves these names (include/linux/export.h; since 6.4 include/linux/export-internal.h takes the
 * other).
 */
function isExported(file: ElfFile, name: string): boolean {
  const marks = new Set([`__ksymtab_${name}`, `__export_symbol_${name}`]);
  return file.symbols.some((symbol) => marks.has(symbol.name));
}

function listUsers(functions: Users['functions']): string {
  return list(functions.map(({ name, way }) => `${name} (${way})`));
}

function list(words: readonly string[], separator = ', '): string {
  const shown = words.slice(0, SHOWN).join(separator);
  return words.length <= SHOWN ? shown : `${shown} and ${words.length - SHOWN} more`;
}
