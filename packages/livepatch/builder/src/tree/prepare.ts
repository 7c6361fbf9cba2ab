import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, type Run } from '@kmend/base';
import { runOk, withLock } from '@kmend/base/node';
import { type Kernel, parseConfig } from '@kmend/kernel';
import { confined, confinedMake } from '../confine.ts';
import { BuilderError } from '../error.ts';
import { makeRecipe } from './recipe.ts';
import { make, makeArguments, type PreparedTree, STEP_LIMIT_MS, type TreeEdges } from './tree.ts';

/** The source of a kernel in the cache, whether or not it was prepared already. */
export function treeSource(cacheDirectory: string, kernel: Pick<Kernel, 'release'>): string {
  return join(cacheDirectory, 'trees', kernel.release, 'source');
}

/**
 * Unpacks and prepares the tree of a kernel, once: later calls find it in the cache. The compiler must be the very one that
 * CONFIG_CC_VERSION_TEXT names, and the resulting configuration must equal the shipped one.
 */
export async function prepareTree(edges: TreeEdges, kernel: Kernel, cacheDirectory: string): Promise<PreparedTree> {
  await checkCompiler(edges.run, kernel);
  const parent = join(cacheDirectory, 'trees');
  const directory = join(parent, kernel.release);
  const tree: PreparedTree = { kernel, directory, source: treeSource(cacheDirectory, kernel) };
  const marker = join(directory, 'prepared');
  const want = `${kernel.buildId}\n`;
  const prepared = async (): Promise<boolean> => (await readFile(marker, 'utf8').catch(() => '')) === want;
  if (await prepared()) return tree;
  const { signal, progress } = edges;
  const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is preparing this tree`);
  await withLock(
    join(parent, `.${kernel.release}.lock`),
    async () => {
      if (await prepared()) return;
      await mkdir(parent, { recursive: true });
      const temporary = await mkdtemp(join(parent, '.prepare-'));
      try {
        await unpack(edges, kernel, temporary);
        await configure(edges, kernel, join(temporary, 'source'));
        // The scripts of a tree remember where they were built: put it in its place before anything else is made.
        await rm(directory, { recursive: true, force: true });
        await rename(temporary, directory);
        await make(edges, tree, ['prepare', 'modules_prepare'], 'prepare the tree');
        await copyFile(kernel.paths.moduleSymvers, join(tree.source, 'Module.symvers'));
        await makeRecipe(edges, tree);
        await writeFile(marker, want);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    },
    { signal, onWait },
  );
  return tree;
}

async function checkCompiler(run: Run, kernel: Kernel): Promise<void> {
  const { command, text } = kernel.compiler;
  const confinedRun = await confined(run, []);
  const result = await confinedRun(command, ['--version'], { timeoutMs: 20_000 }).catch((error: unknown) => {
    throw new BuilderError('compiler-missing', `${kernel.release} needs the compiler "${text}": ${errorText(error)}`, {
      hint: `install it: apt-get install ${command}; on a host of another suite, build on a machine of the suite ${kernel.suite}`,
    });
  });
  const found = result.stdout.toString('utf8').split('\n')[0] ?? '';
  if (found !== text) {
    throw new BuilderError('compiler-differs', `${kernel.release} was built with "${text}"; here is "${found}"`, {
      hint: `upgrade ${command} to that version, or build on a machine of the suite ${kernel.suite}`,
    });
  }
}

async function unpack(edges: TreeEdges, kernel: Kernel, into: string): Promise<void> {
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
    '--exclude=*/Documentation/[!K]*',
  ];
  await runOk(edges.run, 'tar', args, { signal: edges.signal, timeoutMs: STEP_LIMIT_MS });
}

async function configure(edges: TreeEdges, kernel: Kernel, source: string): Promise<void> {
  edges.progress.step(`configure the tree of ${kernel.release}`);
  const shipped = await readFile(kernel.paths.config, 'utf8');
  // The trusted keys are a file of Debian's build machine; they end up in certs/, never in a livepatch.
  const usable = shipped.replace(/^CONFIG_SYSTEM_TRUSTED_KEYS=.*$/m, 'CONFIG_SYSTEM_TRUSTED_KEYS=""');
  await writeFile(join(source, '.config'), usable);
  const args = ['-s', '-C', source, ...makeArguments(kernel), 'olddefconfig'];
  await runOk(confinedMake(edges.run, source), 'make', args, { signal: edges.signal, timeoutMs: STEP_LIMIT_MS });
  const want = parseConfig(usable);
  const have = parseConfig(await readFile(join(source, '.config'), 'utf8'));
  const names = new Set([...want.keys(), ...have.keys()]);
  const different = [...names].filter((name) => want.get(name) !== have.get(name));
  if (different.length > 0) {
    const shown = different.slice(0, 8).join(', ');
    throw new BuilderError(
      'tree-config-differs',
      `the tree of ${kernel.release} cannot be configured as shipped: ${shown}`,
      {
        hint: 'a build tool is missing or has another version: run script/bootstrap (pahole, of the package dwarves, decides about BTF)',
      },
    );
  }
}
