import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import type { PreparedTree } from '../tree/tree.ts';

/** SHA-256 by path in the tree. */
export type ContentHashes = Readonly<Record<string, string>>;

/** Hashes of the files that units are made of, each read once: hundreds of units include the same headers. */
class FileHashes {
  readonly #source: string;
  readonly #byPath = new Map<string, string | undefined>();
  readonly #byFile = new Map<string, string>();

  constructor(source: string) {
    this.#source = source;
  }

  /** `undefined` where there is no such file. */
  of(root: string, path: string): string | undefined {
    // Other folders change between trials; that of the tree is the same throughout.
    if (root !== this.#source) return this.#read(join(root, path));
    if (!this.#byPath.has(path)) this.#byPath.set(path, this.#read(join(root, path)));
    return this.#byPath.get(path);
  }

  #read(path: string): string | undefined {
    const found = statSync(path, { throwIfNoEntry: false, bigint: true });
    if (found === undefined) return undefined;
    // A folder with changed headers has links to the tree's other files.
    const file = [found.dev, found.ino, found.size, found.mtimeNs].join();
    const known = this.#byFile.get(file) ?? sha256(readFileSync(path));
    this.#byFile.set(file, known);
    return known;
  }
}

const hashes = new WeakMap<PreparedTree, FileHashes>();

function hashesOf(tree: PreparedTree): FileHashes {
  const known = hashes.get(tree) ?? new FileHashes(tree.source);
  hashes.set(tree, known);
  return known;
}

/** Hashes of files below `root`: the tree's source, or a folder that looks like it. */
export function contentHashes(tree: PreparedTree, root: string, paths: readonly string[]): ContentHashes {
  const files = hashesOf(tree);
  return Object.fromEntries(paths.map((path) => [path, files.of(root, path) ?? '']));
}

/** Whether these files still are what they were. */
export function isUnchanged(tree: PreparedTree, root: string, before: ContentHashes): boolean {
  const files = hashesOf(tree);
  return Object.entries(before).every(([path, hash]) => files.of(root, path) === hash);
}

/** One hash for the content of many files of the tree. */
export function contentDigest(tree: PreparedTree, paths: readonly string[]): string {
  return sha256(JSON.stringify(contentHashes(tree, tree.source, paths)));
}
