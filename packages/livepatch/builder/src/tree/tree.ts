import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import type { Kernel } from '@kmend/kernel';
import type { BuildRoot } from '@kmend/toolchain';
import { confinedMake } from '../confine.ts';
import { BuilderError } from '../error.ts';
import { SHORT_PATHS } from './short-paths.ts';

/** A kernel's source, configured as shipped and prepared for compiling single units. */
export interface PreparedTree {
  readonly kernel: Kernel;
  /** The folder of this tree in the cache: `source/`, `units/`, `recipe.json`. */
  readonly directory: string;
  /** Root of the source tree. */
  readonly source: string;
  /** The system that it is prepared and compiled in. */
  readonly root: BuildRoot;
  /** See `hasShortPaths`. */
  readonly shortPaths: boolean;
}

export const STEP_LIMIT_MS = 20 * 60_000;

/** Variables that make the tree build what Debian built (the headers package's `.kernelvariables`). */
export function makeArguments(kernel: Kernel): string[] {
  return ['ARCH=x86', `KERNELRELEASE=${kernel.release}`, `CC=${kernel.compiler.command}`];
}

/**
 * The same for a prepared tree (`makeArguments`). What Kbuild tries out with the compiler (scripts/Makefile.compiler,
 * `try-run`) goes beside the source: other builds may be looking through that. Each run of make has a place of its own:
 * in the sandbox all shells have the same few process ids, and where two runs share a place, the answer of one is wrong
 * ("the compiler has no -mfentry") and would be remembered.
 */
export function treeArguments(tree: PreparedTree): string[] {
  const flags = tree.shortPaths ? [`KCPPFLAGS=${SHORT_PATHS}`] : [];
  return [...makeArguments(tree.kernel), ...flags, `TMPOUT=${join(tree.directory, `.try-${randomUUID()}-$$$$`)}`];
}

/** Runs make in the tree, quietly; its last words are the error. */
export async function make(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  goals: readonly string[],
  what: string,
): Promise<void> {
  edges.progress.step(`${what} (${tree.kernel.release})`);
  const args = ['-s', '-j2', '-C', tree.source, ...treeArguments(tree), ...goals];
  const result = await confinedMake(edges.run, tree.root, tree.directory)('make', args, {
    signal: edges.signal,
    timeoutMs: STEP_LIMIT_MS,
  });
  if (result.exitCode !== 0) {
    const tail = result.stderr.trim().split('\n').slice(-12).join('\n');
    throw new BuilderError(
      'tree-failed',
      `make ${goals.join(' ')} failed in the tree of ${tree.kernel.release}:\n${tail}`,
    );
  }
}
