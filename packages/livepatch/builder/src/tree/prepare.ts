import { appendFile, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { exists, runOk, withLock } from '@kmend/base/node';
import { differentOptions, type Kernel, parseConfig } from '@kmend/kernel';
import { type BuildRoot, MACHINE } from '@kmend/toolchain';
import { BuildRoots, givenRoot, rootOfDigest, type SystemSource } from '@kmend/toolchain/roots';
import { confinedMake } from '../confine.ts';
import { BuilderError } from '../error.ts';
import { makeRecipe } from './recipe.ts';
import { rootFor } from './root.ts';
import { autoconfLines, optionsOfRust } from './rust.ts';
import { hasShortPaths } from './short-paths.ts';
import { make, makeArguments, type PreparedTree, STEP_LIMIT_MS } from './tree.ts';

/**
 * Written last into the folder of a tree: the build id of the kernel that it is prepared for, and in a second line the
 * digest of the build root, where that is not this machine's system. Programs that the tree has made load its
 * libraries.
 */
const MARKER = 'prepared';
/** In the folder of a tree: `PreparedTree.shortPaths`. */
const SHORT = 'short-paths';

/**
 * The prepared tree of a kernel, if the cache has one. Trees lie in folders that are called by the build id. Earlier
 * versions called them by the release: such a tree is used where it is, since its scripts remember their place, if it
 * is of this very build.
 */
export async function findTree(cacheDirectory: string, kernel: Kernel): Promise<PreparedTree | undefined> {
  for (const name of [kernel.buildId, kernel.release]) {
    const directory = join(cacheDirectory, 'trees', name);
    const prepared = await readFile(join(directory, MARKER), 'utf8').catch(() => '');
    const [, buildId, digest] = /^([0-9a-f]+)\n(?:([0-9a-f]+)\n)?$/.exec(prepared) ?? [];
    if (buildId !== kernel.buildId) continue;
    const root = digest === undefined ? MACHINE : await rootBy(cacheDirectory, kernel, digest);
    if (root === undefined) continue;
    const shortPaths = await exists(join(directory, SHORT));
    return { kernel, directory, source: join(directory, 'source'), root, shortPaths };
  }
  return undefined;
}

async function rootBy(cacheDirectory: string, { local }: Kernel, digest: string): Promise<BuildRoot | undefined> {
  if (local?.buildRoot === undefined) return await rootOfDigest(cacheDirectory, digest);
  const root = await givenRoot(local.buildRoot);
  return root.contents?.digest === digest ? root : undefined;
}

/** Removes the prepared tree of a kernel. */
export async function removeTree(cacheDirectory: string, { buildId }: Pick<Kernel, 'buildId'>): Promise<void> {
  await rm(join(cacheDirectory, 'trees', buildId), { recursive: true, force: true });
}

/**
 * Unpacks and prepares the tree of a kernel, once: later calls find it in the cache. The compiler must be the very one
 * that CONFIG_CC_VERSION_TEXT names: this machine's, or that of a build root, which is made from `systems`. The
 * resulting configuration must equal the shipped one.
 */
export async function prepareTree(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  kernel: Kernel,
  cacheDirectory: string,
  systems: SystemSource = {},
): Promise<PreparedTree> {
  const root = await rootFor(edges.run, kernel, new BuildRoots(edges, cacheDirectory, systems));
  const find = async (): Promise<PreparedTree | undefined> => {
    const found = await findTree(cacheDirectory, kernel);
    return found?.root.contents?.digest === root.contents?.digest ? found : undefined;
  };
  const known = await find();
  if (known !== undefined) return known;
  const parent = join(cacheDirectory, 'trees');
  const { signal, progress } = edges;
  const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is preparing this tree`);
  // The name that earlier versions lock, too: one of them may be preparing the same tree.
  const lock = join(parent, `.${kernel.release}.lock`);
  const prepare = async (): Promise<PreparedTree> => (await find()) ?? (await prepareAnew(edges, kernel, parent, root));
  return await withLock(lock, prepare, { signal, onWait });
}

async function prepareAnew(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  kernel: Kernel,
  parent: string,
  root: BuildRoot,
): Promise<PreparedTree> {
  const directory = join(parent, kernel.buildId);
  await mkdir(parent, { recursive: true });
  const temporary = await mkdtemp(join(parent, '.prepare-'));
  try {
    await unpack(edges, kernel, temporary);
    const ofRust = await configure(edges, kernel, join(temporary, 'source'), root);
    // The scripts of a tree remember where they were built: put it in its place before anything else is made.
    await rm(directory, { recursive: true, force: true });
    await rename(temporary, directory);
    const source = join(directory, 'source');
    const makefile = await readFile(join(source, 'Makefile'), 'utf8');
    const shortPaths = hasShortPaths(makefile, await readFile(kernel.paths.vmlinux));
    if (shortPaths) await writeFile(join(directory, SHORT), '');
    const tree: PreparedTree = { kernel, directory, source, root, shortPaths };
    await make(edges, tree, ['prepare', 'modules_prepare'], 'prepare the tree');
    await appendFile(join(tree.source, 'include/generated/autoconf.h'), ofRust);
    await copyFile(kernel.paths.moduleSymvers, join(tree.source, 'Module.symvers'));
    await makeRecipe(edges, tree);
    const digest = root.contents === undefined ? '' : `${root.contents.digest}\n`;
    await writeFile(join(directory, MARKER), `${kernel.buildId}\n${digest}`);
    return tree;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function unpack(edges: Pick<Edges, 'run' | 'progress' | 'signal'>, kernel: Kernel, into: string): Promise<void> {
  edges.progress.step(`unpack the source tree of ${kernel.version}`);
  const source = join(into, 'source');
  await mkdir(source);
  const args = [
    '-xf',
    kernel.paths.sourceTarball,
    '-C',
    source,
    '--strip-components=1',
    '--no-same-owner',
    '--no-same-permissions',
    // Of one's own tree `make mrproper` reads all Makefiles.
    ...(kernel.local === undefined ? ['--exclude=*/Documentation/[!K]*'] : []),
  ];
  await runOk(edges.run, 'tar', args, { signal: edges.signal, timeoutMs: STEP_LIMIT_MS });
}

/** Lines that C code is to see of the configuration besides what the tree makes of it, see `optionsOfRust`. */
async function configure(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  kernel: Kernel,
  source: string,
  root: BuildRoot,
): Promise<string> {
  edges.progress.step(`configure the tree of ${kernel.release}`);
  const inTree = (...goals: readonly string[]): Promise<unknown> => {
    const args = ['-s', '-C', source, ...makeArguments(kernel), ...goals];
    return runOk(confinedMake(edges.run, root, source), 'make', args, {
      signal: edges.signal,
      timeoutMs: STEP_LIMIT_MS,
    });
  };
  if (kernel.local !== undefined && (await wasBuiltIn(source))) await inTree('mrproper');
  const shipped = await readFile(kernel.paths.config, 'utf8');
  // The trusted keys are a file of Debian's build machine; they end up in certs/, never in a livepatch.
  const usable = shipped.replace(/^CONFIG_SYSTEM_TRUSTED_KEYS=.*$/m, 'CONFIG_SYSTEM_TRUSTED_KEYS=""');
  await writeFile(join(source, '.config'), usable);
  await inTree('olddefconfig');
  const want = parseConfig(usable);
  const different = differentOptions(want, parseConfig(await readFile(join(source, '.config'), 'utf8')));
  const ofRust = await optionsOfRust(edges, source, want, different);
  const others = different.filter((option) => !ofRust.includes(option));
  if (others.length > 0) {
    const shown = others.slice(0, 8).join(', ');
    throw new BuilderError(
      'tree-config-differs',
      `the tree of ${kernel.release} cannot be configured as shipped: ${shown}`,
      {
        hint:
          kernel.local !== undefined
            ? 'config and source are not of one build, or the tools of another system have decided (gcc, binutils, pahole): name the system that it was built in with --build-root'
            : 'a build tool is missing or has another version: run script/bootstrap (pahole, of the package dwarves, decides about BTF)',
      },
    );
  }
  return autoconfLines(want, ofRust);
}

/** By what keeps Kbuild itself from building in another folder from such a tree (Makefile, `outputmakefile`). */
async function wasBuiltIn(source: string): Promise<boolean> {
  for (const made of ['.config', 'include/config', 'arch/x86/include/generated'])
    if (await exists(join(source, made))) return true;
  return false;
}
