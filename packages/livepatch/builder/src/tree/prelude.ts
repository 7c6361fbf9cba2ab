import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { exists, runOk, writeFileAtomic } from '@kmend/base/node';
import { confined } from '../confine.ts';
import type { PreparedTree } from './tree.ts';

/** What the registration of a livepatch includes, beside what modpost's own source does. */
const REGISTRATION = ['linux/kernel.h', 'linux/livepatch.h', 'linux/module.h'];
const FORCED = '-include';
const COMPILE_LIMIT_MS = 120_000;

/**
 * The headers that the generated sources of every livepatch include, compiled once a tree: reading them is nearly all
 * that compiling such a source costs. A precompiled header is only used where the flags are the same, so that a
 * module's name, which Kbuild gives as a flag, is defined in the source instead.
 */
export class Prelude {
  readonly #path: string;
  readonly #arguments: readonly string[];

  constructor(tree: PreparedTree, compilerArguments: readonly string[]) {
    this.#path = join(tree.directory, 'prelude.h');
    // Kbuild names the headers that it forces from the root of the tree.
    this.#arguments = [...withoutForced(compilerArguments), '-iquote', '.'].map((word) =>
      /^-D_*KBUILD_\w+=/.test(word) ? word.replace(/kmend_\w+/, 'kmend') : word,
    );
  }

  /** Compiler arguments for a generated source, without input and output. */
  get arguments(): string[] {
    // No debug information: it would be of the generated source alone.
    return [...this.#arguments, '-g0', FORCED, this.#path];
  }

  /** What the compiler reads for that, beside the tree. */
  get files(): string[] {
    return [this.#path, `${this.#path}.gch`];
  }

  /** What a generated source begins with. */
  static naming(moduleName: string): string {
    return [
      '#undef KBUILD_MODNAME',
      `#define KBUILD_MODNAME "${moduleName}"`,
      '#undef __KBUILD_MODNAME',
      `#define __KBUILD_MODNAME kmod_${moduleName}`,
      '#line 1',
      '',
    ].join('\n');
  }

  /** Compiles the prelude if there is none yet. `modSource`: a source that modpost generated for this tree. */
  async make(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    tree: PreparedTree,
    modSource: string,
    compilerArguments: readonly string[],
  ): Promise<void> {
    const compiled = `${this.#path}.gch`;
    if (await exists(compiled)) return;
    const text = await readFile(modSource, 'utf8');
    const included = [...text.matchAll(/^#include <([^>]+)>/gm)].map(([, name = '']) => name);
    const defines = [...text.matchAll(/^#define .*$/gm)].map(([line]) => line);
    const forced = compilerArguments.flatMap((word, at) => (word === FORCED ? [compilerArguments[at + 1] ?? ''] : []));
    const lines = [
      ...forced.map((path) => `#include "${path}"`),
      ...defines,
      ...[...new Set([...REGISTRATION, ...included])].map((name) => `#include <${name}>`),
      '',
    ];
    await writeFileAtomic(this.#path, lines.join('\n'));
    // Whole or not at all: another build may be looking for it, or making it too.
    const scratch = await mkdtemp(`${compiled}-`);
    try {
      const unfinished = join(scratch, 'prelude.h.gch');
      const args = [...this.#arguments, '-g0', '-x', 'c-header', '-o', unfinished, this.#path];
      const options = { cwd: tree.source, signal: edges.signal, timeoutMs: COMPILE_LIMIT_MS };
      const run = await confined(edges.run, tree.root, [tree.source, this.#path], [unfinished]);
      await runOk(run, tree.kernel.compiler.command, args, options);
      await rename(unfinished, compiled);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
}

function withoutForced(words: readonly string[]): string[] {
  return words.filter((word, at) => word !== FORCED && words[at - 1] !== FORCED);
}
