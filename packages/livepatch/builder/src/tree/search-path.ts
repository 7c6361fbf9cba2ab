import { isAbsolute, join, normalize, relative } from 'node:path';
import { includableFiles } from './included.ts';
import { oncePerTree } from './once.ts';

/** Where a name leads. */
export interface Places {
  /** Paths that the compiler tries, in no order. */
  readonly all: readonly string[];
  /** The tree has one of them. */
  readonly isPresent: boolean;
}

/** What a unit's command says of includes. */
export interface UnitSearch {
  /** Files that the compiler includes first. */
  readonly forced: readonly string[];
  readonly path: SearchPath;
}

/** Folders in which the compiler looks for includes. What a name leads to is found once. */
export class SearchPath {
  readonly #folders: readonly string[];
  readonly #present: ReadonlySet<string>;
  readonly #known = new Map<string, Places>();

  constructor(folders: readonly string[], present: ReadonlySet<string>) {
    this.#folders = folders;
    this.#present = present;
  }

  placesOf(name: string): Places {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const all = this.#folders.map((folder) => join(folder, name));
    const places = { all, isPresent: all.some((place) => this.#present.has(place)) };
    this.#known.set(name, places);
    return places;
  }
}

/** The search paths of a tree's units: those of a folder are mostly the same. */
export class SearchPaths {
  readonly #source: string;
  readonly #present: ReadonlySet<string>;
  readonly #known = new Map<string, SearchPath>();

  /** `source`: the tree; `present`: the files that it has. */
  constructor(source: string, present: ReadonlySet<string>) {
    this.#source = source;
    this.#present = present;
  }

  /** `args`: the compiler's, of one unit. */
  of(args: readonly string[]): UnitSearch {
    const folders: string[] = [];
    const forced: string[] = [];
    for (const [at, word] of args.entries()) {
      if (word === '-include') forced.push(this.#inTree(args[at + 1] ?? ''));
      const [, option, joined = ''] = /^(-I|-isystem|-iquote|-idirafter)(.*)$/.exec(word) ?? [];
      if (option !== undefined) folders.push(this.#inTree(joined === '' ? (args[at + 1] ?? '') : joined));
    }
    const key = folders.join('\0');
    const path = this.#known.get(key) ?? new SearchPath(folders, this.#present);
    this.#known.set(key, path);
    return { forced, path };
  }

  /** The compiler runs in the tree. */
  #inTree(path: string): string {
    return isAbsolute(path) ? relative(this.#source, path) : normalize(path);
  }
}

export const searchPaths = oncePerTree(
  async (edges, tree) => new SearchPaths(tree.source, new Set(await includableFiles(edges, tree))),
);
