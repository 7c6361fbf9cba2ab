import type { Edges, Run } from '@kmend/base';
import type { Kernel } from '@kmend/kernel';
import { BuildRoots, extentOf } from '@kmend/toolchain/roots';
import { findTree } from './prepare.ts';
import { neededRoot } from './root.ts';

/** Where a kernel is compiled. */
export interface Workplace {
  readonly release: string;
  readonly buildId: string;
  /** `CONFIG_CC_VERSION_TEXT`. */
  readonly compiler: string;
  /** `nowhere`: its compiler is none of Debian's, and not on this machine. */
  readonly system: 'this machine' | 'build root' | 'given root' | 'nowhere';
  /** Name of its root in `Diagnosis.roots`, whether that is made or not; of a given root, its folder. */
  readonly root?: string;
}

/** A build root on the disk. */
export interface RootState {
  readonly name: string;
  readonly bytes: number;
  /** How many Debian packages it consists of; 0 where that is not known. */
  readonly packages: number;
  /** `damaged`: cut off, or changed since; it is made again when it is needed. */
  readonly state: 'whole' | 'damaged';
}

/** A kernel of the store, where it is compiled, and what it takes on the disk. */
export interface KernelState extends Workplace {
  /** Bytes of its folder in the store. */
  readonly bytes: number;
  /** Bytes of its prepared source tree, without what builds make beside it; absent where it has none yet. */
  readonly treeBytes?: number;
}

/** What this machine compiles kernels with. */
export interface Diagnosis {
  readonly kernels: readonly KernelState[];
  readonly roots: readonly RootState[];
}

/** Where a kernel is compiled. */
export async function workplaceOf(run: Run, kernel: Kernel): Promise<Workplace> {
  const { release, buildId, compiler } = kernel;
  const known = { release, buildId, compiler: compiler.text };
  const needed = await neededRoot(run, kernel);
  switch (needed.kind) {
    case 'machine':
      return { ...known, system: 'this machine' };
    case 'root':
      return { ...known, system: 'build root', root: needed.name };
    case 'given':
      return { ...known, system: 'given root', root: needed.directory };
    case 'none':
      return { ...known, system: 'nowhere' };
  }
}

/** Looks at the compilers of this machine and through its build roots; makes none. */
export async function diagnose(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  cacheDirectory: string,
  kernels: readonly Kernel[],
): Promise<Diagnosis> {
  const places: KernelState[] = [];
  for (const kernel of kernels) {
    const tree = await findTree(cacheDirectory, kernel);
    places.push({
      ...(await workplaceOf(edges.run, kernel)),
      bytes: extentOf(kernel.paths.directory).bytes,
      ...(tree === undefined ? {} : { treeBytes: extentOf(tree.source).bytes }),
    });
  }
  const roots = (await new BuildRoots(edges, cacheDirectory).list()).map(
    ({ name, bytes, root, isDamaged }): RootState => ({
      name,
      bytes,
      packages: Object.keys(root?.contents?.packages ?? {}).length,
      state: isDamaged ? 'damaged' : 'whole',
    }),
  );
  return { kernels: places, roots };
}
