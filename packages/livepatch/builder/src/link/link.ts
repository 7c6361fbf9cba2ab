import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { type ElfFile, readElf, SHN_UNDEF, UNNAMED_MODULE, writeElf } from '@kmend/elf';
import { AUTHOR_INCLUDE } from '../author/header.ts';
import { runObjtool } from '../compile/objtool.ts';
import { confined } from '../confine.ts';
import { BuilderError } from '../error.ts';
import { Prelude } from '../tree/prelude.ts';
import { makePrelude, type Recipe } from '../tree/recipe.ts';
import type { PreparedTree } from '../tree/tree.ts';
import { convertModule } from './klp.ts';
import { type Registration, registrationSource } from './registration.ts';
import { dropSeals, unorder } from './sections.ts';

/** Global names of new functions until the module is finished. */
export const ALIAS_PREFIX = 'kmend_new_';

export interface LinkRequest {
  readonly recipe: Recipe;
  /** Paths of the extracted objects. */
  readonly objects: readonly string[];
  readonly registration: Registration;
  /** The undefined symbols that exports or livepatch will provide; any other is an error. */
  readonly expected: ReadonlySet<string>;
  /** A folder of its own. */
  readonly scratch: string;
}

/**
 * Links extracted objects and the registration into a module as Kbuild does (scripts/Makefile.modpost,
 * Makefile.modfinal), then turns it into a livepatch. Returns the module's bytes, under the name `UNNAMED_MODULE`.
 * Throws `link-failed`.
 */
export async function linkModule(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  { recipe, objects, registration, expected, scratch }: LinkRequest,
): Promise<Uint8Array> {
  const { run, signal } = edges;
  const directory = join(scratch, 'link');
  await mkdir(directory);
  const within = (name: string): string => join(directory, name);
  const prelude = await makePrelude(edges, tree, recipe);
  const step = async (
    what: string,
    file: string,
    args: readonly string[],
    made: readonly string[],
    reads: readonly string[] = [],
    stdin = '',
  ): Promise<string> => {
    const confinedRun = await confined(run, tree.root, [tree.source, directory, ...reads], made);
    const result = await confinedRun(file, args, { cwd: tree.source, stdin, signal, timeoutMs: 120_000 });
    if (result.exitCode !== 0) {
      throw new BuilderError(
        'link-failed',
        `${what} failed: ${result.stderr.trim().split('\n').slice(0, 6).join('\n')}`,
      );
    }
    return result.stderr;
  };
  const compile = async (text: string, name: string): Promise<string> => {
    const source = within(`${name}.c`);
    const object = within(`${name}.o`);
    await writeFile(source, `${Prelude.naming(UNNAMED_MODULE)}${text}`);
    const args = [...prelude.arguments, '-I', AUTHOR_INCLUDE, '-c', '-o', object, source];
    await step(`compiling ${name}.c`, tree.kernel.compiler.command, args, [object], prelude.files);
    return object;
  };
  const registered = await compile(registrationSource(registration), 'registration');
  await runObjtool(run, tree, recipe.objtoolArguments, registered, signal);
  const file = readElf(await readFile(registered));
  if (unorder(file)) await writeFile(registered, writeElf(file));
  const joined = within(`${UNNAMED_MODULE}.o`);
  await step(
    'joining the objects',
    'ld',
    ['-r', '-m', 'elf_x86_64', '-o', joined, ...objects, registered],
    [joined],
    objects,
  );
  checkUndefined(readElf(await readFile(joined)), expected);
  // modpost reads which objects the module is of, and their commands for the CRCs of exports: there are none.
  await writeFile(within(`${UNNAMED_MODULE}.mod`), `${joined}\n`);
  await writeFile(within(`.${UNNAMED_MODULE}.o.cmd`), '\n');
  const list = within('modules.order');
  await writeFile(list, `${joined}\n`);
  const listed = recipe.modpostArguments.includes('-T') ? [] : ['-T', list];
  const modpost = join(tree.source, 'scripts', 'mod', 'modpost');
  const said = await step(
    'modpost',
    modpost,
    [...recipe.modpostArguments, ...listed, '-w', '-o', within('Module.symvers')],
    [within('Module.symvers'), within(`${UNNAMED_MODULE}.mod.c`)],
    [],
    `${joined}\n`,
  );
  checkModpost(said);
  const mod = await compile(await readFile(within(`${UNNAMED_MODULE}.mod.c`), 'utf8'), `${UNNAMED_MODULE}.mod`);
  const module = within(`${UNNAMED_MODULE}.ko`);
  await step(
    'linking the module',
    'ld',
    [...recipe.linkArguments, '-o', module, joined, mod, ...recipe.linkObjects],
    [module],
    recipe.linkObjects,
  );
  const linked = readElf(await readFile(module));
  dropSeals(linked);
  convertModule(linked, ALIAS_PREFIX);
  return writeElf(linked);
}

/**
 * modpost was told to go on where a symbol is not exported: each must be one that livepatch resolves, or come from
 * modpost itself.
 */
function checkUndefined(joined: ElfFile, expected: ReadonlySet<string>): void {
  for (const { name, place } of joined.symbols) {
    if (place !== SHN_UNDEF || expected.has(name) || name === '__this_module') continue;
    // What the registration's calls through pointers become (arch/x86/lib/retpoline.S); vmlinux exports them.
    if (/^__x86_indirect_thunk_r\w+$/.test(name)) continue;
    throw new BuilderError('link-failed', `the livepatch refers to ${name}, which nothing provides`);
  }
}

function checkModpost(said: string): void {
  const unexpected = said
    .split('\n')
    .filter((line) => /^(?:ERROR|WARNING)/.test(line) && !/undefined!|suppressed \d+ unresolved/.test(line));
  if (unexpected.length > 0) throw new BuilderError('link-failed', `modpost: ${unexpected.slice(0, 4).join('; ')}`);
}
