import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { type DeltaRange, type SourceStore, sourceDelta } from '@kmend/kernel';
import { linkSources, replaceLinked } from '../source/header-tree.ts';
import { includedTexts } from '../tree/included.ts';
import type { PreparedTree } from '../tree/tree.ts';

/** The source of a fixed kernel's version, beside that of the kernel that livepatches are built for. */
export class Upload {
  readonly #edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly #tree: PreparedTree;
  readonly #sources: SourceStore;
  readonly #range: DeltaRange;
  #headers: Promise<ReadonlyMap<string, string>> | undefined;

  constructor(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    tree: PreparedTree,
    sources: SourceStore,
    range: DeltaRange,
  ) {
    this.#edges = edges;
    this.#tree = tree;
    this.#sources = sources;
    this.#range = range;
  }

  /** The text of a file in that version; `undefined` where it has none. */
  async text(path: string): Promise<string | undefined> {
    const folder = await this.#sources.files(this.#range.suite, this.#range.to, [path]);
    return await readFile(join(folder, path), 'latin1').catch(() => undefined);
  }

  /** All headers, and C files that others include, that the version changed or added: by path, as it has them. */
  headers(): Promise<ReadonlyMap<string, string>> {
    this.#headers ??= this.#readHeaders();
    return this.#headers;
  }

  async #readHeaders(): Promise<ReadonlyMap<string, string>> {
    const { suite, to } = this.#range;
    const { changed, added } = await sourceDelta(this.#edges, this.#sources, this.#range);
    const isIncluded = await includedTexts(this.#edges, this.#tree);
    const paths = [...changed, ...added].filter((path) => path.endsWith('.h') || isIncluded(path));
    const folder = await this.#sources.files(suite, to, paths);
    const texts = await Promise.all(paths.map((path) => readFile(join(folder, path), 'latin1')));
    return new Map(paths.map((path, index) => [path, texts[index] ?? '']));
  }
}

/** A folder that looks like the tree's source to the compiler, whose headers change from one trial to the next. */
export class TrialTree {
  readonly root: string;
  readonly #tree: PreparedTree;
  #changed: ReadonlyMap<string, string> = new Map();

  private constructor(root: string, tree: PreparedTree) {
    this.root = root;
    this.#tree = tree;
  }

  /** `scratch`: a folder on the tree's file system, which its owner removes. */
  static async make(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    tree: PreparedTree,
    scratch: string,
  ): Promise<TrialTree> {
    const root = await mkdtemp(join(scratch, 'trial-'));
    await linkSources(edges, tree, root);
    return new TrialTree(root, tree);
  }

  /** Makes these the only changed files of the folder. */
  async change(headers: ReadonlyMap<string, string>): Promise<void> {
    for (const path of this.#changed.keys()) {
      if (headers.has(path)) continue;
      const stock = await readFile(join(this.#tree.source, path), 'latin1').catch(() => undefined);
      if (stock === undefined) await rm(join(this.root, path), { force: true });
      else await replaceLinked(this.root, path, stock);
    }
    for (const [path, text] of headers)
      if (this.#changed.get(path) !== text) await replaceLinked(this.root, path, text);
    this.#changed = headers;
  }
}
