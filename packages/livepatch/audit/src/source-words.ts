import { readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import type { AuditedSource } from './source.ts';

/** What patches change in one file. */
export interface ChangedFile {
  readonly path: string;
  /** Names on the lines that are added and removed. */
  readonly words: ReadonlySet<string>;
  /** Those of them that have arguments there. */
  readonly called: ReadonlySet<string>;
  /** Texts in quotes on the lines that are added. */
  readonly texts: readonly string[];
  /** The lines that are added and those around them, without blanks. */
  readonly squeezed: string;
}

interface Collected {
  readonly words: Set<string>;
  readonly called: Set<string>;
  readonly texts: string[];
  squeezed: string;
}

/** Reads unified diffs: which files they change, and which names and texts stand on the changed lines. */
export function changedFiles(patches: readonly string[]): ChangedFile[] {
  const files = new Map<string, Collected>();
  for (const patch of patches) {
    let current: Collected | undefined;
    let left = 0;
    for (const line of patch.split('\n')) {
      const [, old, fresh] = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(line) ?? [];
      const [, path] = left <= 0 ? (/^\+\+\+ [^/\t]+\/([^\t]+)/.exec(line) ?? []) : [];
      if (path !== undefined) {
        current = files.get(path) ?? { words: new Set(), called: new Set(), texts: [], squeezed: '' };
        files.set(path, current);
      } else if (line.startsWith('@@')) left = Number(old ?? 1) + Number(fresh ?? 1);
      else if (left > 0) {
        left -= line.startsWith('+') || line.startsWith('-') ? 1 : line.startsWith('\\') ? 0 : 2;
        if (current !== undefined && /^[+ ]/.test(line)) current.squeezed += squeezed(line.slice(1));
        if (!/^[+-]/.test(line)) continue;
        for (const { name, isCalled } of namesIn(line.slice(1))) {
          current?.words.add(name);
          if (isCalled) current?.called.add(name);
        }
        for (const [text] of line.matchAll(/"(?:[^"\\]|\\.)*"/g))
          if (text.length > 4) current?.texts.push(text.slice(1, -1));
      }
    }
  }
  return [...files].map(([path, found]) => ({ path, ...found }));
}

/** As macros compare what they make texts of: `gfs2_assert(sdp, a <= b)` says "a <= b". */
export function squeezed(text: string): string {
  return text.replaceAll(/\s+/g, '');
}

/** Where `#include` looks in a kernel tree for x86 (Makefile, LINUXINCLUDE). */
const ROOTS = [
  '',
  'arch/x86/include',
  'arch/x86/include/generated',
  'include',
  'arch/x86/include/uapi',
  'arch/x86/include/generated/uapi',
  'include/uapi',
  'include/generated/uapi',
];
/** A unit includes some 1,500 files, each looked for in ten places; more are those of a tree that is no kernel's. */
const FILES = 20_000;
/** How deep macros and inline functions are nested in each other. */
const DEPTH = 12;

/** Definitions of one unit with all that it includes: what a name on a changed line may become in the code. */
export class SourceIndex {
  /** Names in the bodies of all definitions of a name. */
  readonly #bodies: ReadonlyMap<string, readonly Definition[]>;
  /** Defined names by what they begin with, found when it is asked for. */
  readonly #byPrefix = new Map<string, readonly string[]>();

  private constructor(bodies: ReadonlyMap<string, readonly Definition[]>) {
    this.#bodies = bodies;
  }

  static async open(tree: string, source: string): Promise<SourceIndex> {
    const bodies = new Map<string, Definition[]>();
    const seen = new Set<string>([source]);
    for (let layer = [source]; layer.length > 0; ) {
      const texts = await Promise.all(layer.map((path) => readFile(join(tree, path), 'latin1').catch(() => undefined)));
      const next: string[] = [];
      for (const [index, text] of texts.entries()) {
        if (text === undefined) continue;
        collect(text, bodies);
        for (const [, name = ''] of text.matchAll(/^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]/gm)) {
          for (const root of [dirname(layer[index] ?? ''), dirname(source), ...ROOTS]) {
            const place = normalize(join(root, name));
            if (place.startsWith('..') || seen.has(place) || seen.size > FILES) continue;
            seen.add(place);
            next.push(place);
          }
        }
      }
      layer = next;
    }
    return new SourceIndex(bodies);
  }

  /**
   * All that some names can become: they, what stands in their definitions, and so on. `called`: those with arguments.
   */
  closure(words: Iterable<string>, called: Iterable<string>): Closure {
    const found = new Set([...words, ...called]);
    const opened = new Set<Definition>();
    const prefixes = new Set<string>();
    let layer = [
      ...Array.from(words, (name) => ({ name, isCalled: false })),
      ...Array.from(called, (name) => ({ name, isCalled: true })),
    ];
    for (let depth = 0; depth < DEPTH && layer.length > 0; depth++) {
      const next: typeof layer = [];
      for (const { name, isCalled } of layer) {
        for (const definition of this.#bodies.get(name) ?? []) {
          // A variable may be called as some function is.
          if ((definition.hasArguments && !isCalled) || opened.has(definition)) continue;
          opened.add(definition);
          for (const one of namesIn(definition.body)) {
            found.add(one.name);
            next.push(one);
          }
          for (const [, prefix = ''] of definition.body.matchAll(/(\w+)\s*##/g)) prefixes.add(prefix);
          // Names that macros paste together of what they are given: `__tracepoint_##name`.
          for (const [, prefix = ''] of definition.body.matchAll(/(\w+)##/g))
            for (const base of words) found.add(`${prefix}${base}`);
        }
      }
      layer = next;
      // Of what they give each other: `pr_err_ ## ratefunc` with `ratelimited` (fs/smb/client/cifs_debug.h).
      for (const prefix of prefixes) {
        for (const name of this.#beginningWith(prefix)) {
          if (found.has(name) || !found.has(name.slice(prefix.length))) continue;
          found.add(name);
          next.push({ name, isCalled: true });
        }
      }
    }
    return new Closure(found, opened);
  }

  /** Names that stand in the definitions of a name themselves. */
  within(name: string): ReadonlySet<string> {
    const definitions = this.#bodies.get(name) ?? [];
    return new Set(definitions.flatMap(({ body }) => namesIn(body).map((one) => one.name)));
  }

  #beginningWith(prefix: string): readonly string[] {
    const known = this.#byPrefix.get(prefix) ?? [...this.#bodies.keys()].filter((name) => name.startsWith(prefix));
    this.#byPrefix.set(prefix, known);
    return known;
  }
}

/** What names can become. */
export class Closure {
  readonly names: ReadonlySet<string>;
  readonly #opened: ReadonlySet<Definition>;
  #text: string | undefined;

  constructor(names: ReadonlySet<string>, opened: ReadonlySet<Definition>) {
    this.names = names;
    this.#opened = opened;
  }

  has(name: string): boolean {
    return this.names.has(name);
  }

  /**
   * Whether a macro or inline function among them has a text, in quotes or as code that another macro makes a text of.
   */
  says(text: string): boolean {
    this.#text ??= [...this.#opened].map(({ body }) => squeezed(body)).join('\n');
    return this.#text.includes(squeezed(text));
  }
}

interface Definition {
  readonly hasArguments: boolean;
  readonly body: string;
}

/** Names in a text, with whether they have arguments there. */
function namesIn(text: string): { readonly name: string; readonly isCalled: boolean }[] {
  return Array.from(text.matchAll(/([A-Za-z_]\w*)(\s*\()?/g), ([, name = '', open]) => ({
    name,
    isCalled: open !== undefined,
  }));
}

/** Bodies of macros, and of functions that begin at the start of a line, as the kernel's style has them. */
function collect(text: string, bodies: Map<string, Definition[]>): void {
  const add = (name: string, hasArguments: boolean, body: string): void => {
    const there = bodies.get(name);
    if (there === undefined) bodies.set(name, [{ hasArguments, body }]);
    else there.push({ hasArguments, body });
  };
  for (const [, name = '', body = ''] of text.matchAll(/^[ \t]*#[ \t]*define[ \t]+(\w+)((?:[^\n]*\\\n)*[^\n]*)/gm))
    add(name, body.startsWith('('), body);
  const parts = text.split('\n{\n');
  for (const [index, body] of parts.entries()) {
    const name = /^[^(]*?(\w+)\s*\(/.exec(headingOf(parts[index - 1]?.slice(-600) ?? ''))?.[1];
    if (name !== undefined) add(name, true, body.slice(0, Math.max(0, body.indexOf('\n}'))));
  }
}

/**
 * The beginning of a definition, behind what ends before it: `static __always_inline void rcu_read_lock(void)` has a
 * page of comment above it.
 */
function headingOf(before: string): string {
  const ends = [...before.matchAll(/\n\n|\*\/\n|[;}]\n|^#.*\n/gm)];
  const last = ends.at(-1);
  return last === undefined ? before : before.slice(last.index + last[0].length);
}

/** Of each source that is in use: one may be audited more than once. */
const known = new WeakMap<AuditedSource, ChangedWords>();

/** Names and texts on the changed lines, and what they become in one unit. */
export class ChangedWords {
  readonly texts: readonly string[];
  /** The lines that are added and those around them, of each file, without blanks. */
  readonly squeezed: readonly string[];
  readonly #words: ReadonlySet<string>;
  readonly #called: ReadonlySet<string>;
  readonly #open: (unit: string) => Promise<SourceIndex>;

  private constructor(patches: readonly string[], tree: string) {
    const files = changedFiles(patches);
    this.texts = files.flatMap(({ texts }) => texts);
    this.squeezed = files.map((file) => file.squeezed);
    this.#words = new Set(files.flatMap(({ words }) => [...words]));
    this.#called = new Set(files.flatMap(({ called }) => [...called]));
    const units = new Map<string, Promise<SourceIndex>>();
    this.#open = (unit) => {
      const opened = units.get(unit) ?? SourceIndex.open(tree, unit);
      units.set(unit, opened);
      return opened;
    };
  }

  /** `undefined` where the patches or the source are not here. */
  static of(source: AuditedSource): ChangedWords | undefined {
    const { patches, tree } = source;
    if (patches.length === 0 || tree === undefined) return undefined;
    const words = known.get(source) ?? new ChangedWords(patches, tree);
    known.set(source, words);
    return words;
  }

  has(name: string): boolean {
    return this.#words.has(name);
  }

  /** What the changed lines and further names of a unit can become. */
  async closure(unit: string, further: readonly string[]): Promise<Closure> {
    return (await this.#open(unit)).closure(this.#words, [...this.#called, ...further]);
  }

  /** Names that stand in the definition of a name of a unit itself. */
  async within(unit: string, name: string): Promise<ReadonlySet<string>> {
    return (await this.#open(unit)).within(name);
  }

  /** What a name of a unit stands for. */
  async bodies(unit: string, name: string): Promise<ReadonlySet<string>> {
    return (await this.#open(unit)).closure([], [name]).names;
  }
}
