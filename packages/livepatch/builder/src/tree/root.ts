import { errorCode, type Run } from '@kmend/base';
import { baseSuite, type Kernel } from '@kmend/kernel';
import { type BuildRoot, MACHINE } from '@kmend/toolchain';
import { type BuildRoots, debianCompiler, givenRoot, rootName, type WantedRoot } from '@kmend/toolchain/roots';
import { confined } from '../confine.ts';
import { BuilderError } from '../error.ts';

/** Where a kernel's compiler is: on this machine, or in a build root; `compiler` of `none`: what is here instead. */
export type NeededRoot =
  | { readonly kind: 'machine' }
  | { readonly kind: 'root'; readonly wanted: WantedRoot; readonly name: string }
  /** The operator's own. */
  | { readonly kind: 'given'; readonly directory: string }
  | { readonly kind: 'none'; readonly here: string };

/** Looks for the very compiler that CONFIG_CC_VERSION_TEXT names. */
export async function neededRoot(run: Run, { compiler, suite, local }: Kernel): Promise<NeededRoot> {
  if (local?.buildRoot !== undefined) return { kind: 'given', directory: local.buildRoot };
  const here = await compilerOf(run, MACHINE, compiler.command);
  if (here === compiler.text) return { kind: 'machine' };
  // Of which suite a root of one's own kernel should be is known to its operator alone.
  const debian = local === undefined ? debianCompiler(compiler.text) : undefined;
  if (debian === undefined) return { kind: 'none', here };
  // Kernels of `trixie-backports` are compiled in trixie.
  const wanted = { suite: baseSuite(suite), compiler: debian };
  return { kind: 'root', wanted, name: rootName(wanted) };
}

/**
 * The system that a kernel is compiled in: this machine's, if its compiler is the very one; else a build root of the
 * kernel's suite, made where there is none. Throws `compiler-missing` where the compiler is none of Debian's,
 * `compiler-differs` where the root's says it is another, and what `BuildRoots.prepare` throws.
 */
export async function rootFor(
  run: Run,
  kernel: Kernel,
  roots: Pick<BuildRoots, 'find' | 'prepare'>,
): Promise<BuildRoot> {
  const { release, compiler } = kernel;
  const needed = await neededRoot(run, kernel);
  if (needed.kind === 'machine') return MACHINE;
  if (needed.kind === 'given') return await rootOfOperator(run, kernel, needed.directory);
  if (needed.kind === 'none') throw missing(kernel, needed.here);
  const known = await roots.find(needed.wanted);
  if (known !== undefined && (await compilerOf(run, known, compiler.command)) === compiler.text) return known;
  const made = await roots.prepare(needed.wanted);
  const there = await compilerOf(run, made, compiler.command);
  if (there === compiler.text) return made;
  throw new BuilderError('compiler-differs', `${release} was built with "${compiler.text}"; Debian's is "${there}"`, {
    hint: 'the byte proof needs the very same compiler: build for another kernel of the suite',
  });
}

/** Throws where the compiler of a kernel of one's own is not there, as `rootFor` does. */
export async function assertCompiler(run: Run, kernel: Kernel): Promise<void> {
  const needed = await neededRoot(run, kernel);
  if (needed.kind === 'none') throw missing(kernel, needed.here);
  if (needed.kind === 'given') await rootOfOperator(run, kernel, needed.directory);
}

function missing({ release, compiler, local }: Kernel, here: string): BuilderError {
  const found = here === '' ? 'this machine has none of that name' : `this machine's is "${here}"`;
  return new BuilderError('compiler-missing', `${release} was built with "${compiler.text}"; ${found}`, {
    hint:
      local === undefined
        ? 'a build root can only be made for a compiler of Debian: install that one on this machine'
        : 'name the folder of the system that it was built in with --build-root, or install that compiler on this machine',
  });
}

/** The system of a kernel of one's own, by the folder that its operator named. */
async function rootOfOperator(run: Run, { release, compiler }: Kernel, directory: string): Promise<BuildRoot> {
  const root = await givenRoot(directory);
  const there = await compilerOf(run, root, compiler.command);
  if (there === compiler.text) return root;
  const said = there === '' ? `there is no ${compiler.command} in ${directory}` : `that in ${directory} is "${there}"`;
  const code = there === '' ? 'compiler-missing' : 'compiler-differs';
  throw new BuilderError(code, `${release} was built with "${compiler.text}"; ${said}`, {
    hint: 'the byte proof needs the very same compiler: install it there, or name the system that has it with --build-root',
  });
}

/** What a compiler calls itself; empty where the system has none of that name. */
async function compilerOf(run: Run, root: BuildRoot, command: string): Promise<string> {
  const confinedRun = await confined(run, root, []);
  try {
    const { exitCode, stdout } = await confinedRun(command, ['--version'], { timeoutMs: 20_000 });
    return exitCode === 0 ? (stdout.toString('utf8').split('\n')[0] ?? '') : '';
  } catch (error) {
    if (errorCode(error) !== 'tool-missing') throw error;
    return '';
  }
}
