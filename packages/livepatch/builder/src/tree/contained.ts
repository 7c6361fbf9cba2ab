import { type IncludeGraph, isMeant } from './included.ts';
import type { SearchPath, SearchPaths } from './search-path.ts';

/**
 * What is asked: texts of the tree, and all files that may contain one of them by what they include, whatever the
 * search path.
 */
export interface Wanted {
  readonly texts: ReadonlySet<string>;
  readonly containers: ReadonlySet<string>;
}

/**
 * Whether single units can contain texts, each with its own search path: drivers by the dozen have a `core.h`, and what
 * a unit means by it is beside it or in its own `-I`. Like the graph it may know of an include that does not happen,
 * never miss one that does.
 */
export class Contained {
  readonly #graph: IncludeGraph;
  readonly #searches: SearchPaths;
  readonly #wanted: Wanted;
  /** Files that contain a text or are one, by the last part of their names: all that is worth following. */
  readonly #worth = new Map<string, string[]>();

  constructor(graph: IncludeGraph, searches: SearchPaths, wanted: Wanted) {
    this.#graph = graph;
    this.#searches = searches;
    this.#wanted = wanted;
    for (const path of new Set([...wanted.texts, ...wanted.containers])) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const known = this.#worth.get(name);
      if (known === undefined) this.#worth.set(name, [path]);
      else known.push(path);
    }
  }

  /** `args`: the compiler's, of the unit that has the text of `path`. */
  canHold(path: string, args: readonly string[]): boolean {
    const { forced, path: search } = this.#searches.of(args);
    const seen = new Set([path, ...forced]);
    for (const file of seen) {
      if (this.#wanted.texts.has(file)) return true;
      if (file !== path && !this.#wanted.containers.has(file)) continue;
      for (const target of this.#graph.targetsOf(file))
        for (const found of this.#filesOf(file, target, search)) seen.add(found);
    }
    return false;
  }

  #filesOf(includer: string, target: string, search: SearchPath): readonly string[] {
    const worth = this.#worth.get(target.slice(target.lastIndexOf('/') + 1)) ?? [];
    if (worth.length === 0) return [];
    if (target.startsWith('/')) return worth.filter((path) => `/${path}` === target);
    const { all, isPresent } = search.placesOf(target);
    // Headers of tracepoints name themselves (TRACE_INCLUDE_FILE). Else it is made on the way, or named in parts.
    if (!isPresent) return isMeant(target, includer) ? [] : worth.filter((path) => isMeant(target, path));
    return worth.filter((path) => all.includes(path));
  }
}
