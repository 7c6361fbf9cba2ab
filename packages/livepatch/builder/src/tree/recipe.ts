import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Edges } from '@kmend/base';
import { z } from 'zod';
import { BuilderError } from '../error.ts';
import { parseCommand, type UnitCommand } from './command.ts';
import { Prelude } from './prelude.ts';
import { make, type PreparedTree } from './tree.ts';
import { splitCommands, splitWords } from './words.ts';

/**
 * How Kbuild builds an out-of-tree module of this kernel: learnt once from one that it builds, then run without make.
 */
const Recipe = z.object({
  /** Compiler arguments of a unit whose module is called `kmend_probe`. */
  compilerArguments: z.array(z.string()),
  objtoolArguments: z.array(z.string()),
  /** Arguments of `ld` without output and inputs. */
  linkArguments: z.array(z.string()),
  /** Objects that are linked into every module beside its own: `.module-common.o` since 6.12; absolute paths. */
  linkObjects: z.array(z.string()).default([]),
  /**
   * Arguments of `scripts/mod/modpost` without the output. With `-T -` among them the object's path comes on stdin,
   * else by `-T` in a file.
   */
  modpostArguments: z.array(z.string()),
});
export type Recipe = z.infer<typeof Recipe>;

export const PROBE = 'kmend_probe';

const PROBE_SOURCE = `// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("shows how this tree builds a module; never loaded");
`;

/** Builds the probe with make and keeps the commands that it took. */
export async function makeRecipe(edges: Pick<Edges, 'run' | 'progress' | 'signal'>, tree: PreparedTree): Promise<void> {
  const directory = join(tree.directory, 'probe');
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  await writeFile(join(directory, `${PROBE}.c`), PROBE_SOURCE);
  await writeFile(join(directory, 'Kbuild'), `obj-m := ${PROBE}.o\n`);
  await make(
    edges,
    tree,
    [`M=${directory}`, 'CONFIG_DEBUG_INFO_BTF_MODULES=', 'modules'],
    'learn how modules are built',
  );
  const unit = parseCommand(await readFile(join(directory, `.${PROBE}.o.cmd`), 'utf8'));
  const link = parseLink(await readFile(join(directory, `.${PROBE}.ko.cmd`), 'utf8'));
  const modpost = parseModpost(await readFile(join(directory, '.Module.symvers.cmd'), 'utf8'));
  if (unit === undefined || link === undefined || modpost === undefined) {
    throw new BuilderError(
      'tree-failed',
      `the commands that build a module for ${tree.kernel.release} are not understood`,
    );
  }
  const { compilerArguments, objtoolArguments } = unit;
  const recipe: Recipe = {
    compilerArguments: [...compilerArguments],
    objtoolArguments: [...objtoolArguments],
    linkArguments: [...link.arguments],
    // Since 6.13 make works in the module's folder, and names what is there without it.
    linkObjects: link.inputs
      .filter((path) => !basename(path).startsWith(PROBE))
      .map((path) => resolve(directory, path)),
    modpostArguments: modpost,
  };
  await new Prelude(tree, compilerArguments).make(edges, tree, join(directory, `${PROBE}.mod.c`), compilerArguments);
  await makePrelude(edges, tree, recipe);
  await writeFile(recipePath(tree), `${JSON.stringify(recipe, null, 2)}\n`);
}

/**
 * How objtool runs on a unit. Where it is delayed (scripts/Makefile.lib, `delay-objtool`: IBT), it runs on vmlinux.o
 * and on whole modules, and a unit's own command has nothing of it: it then gets what those would.
 */
export function objtoolArguments(
  recipe: Pick<Recipe, 'objtoolArguments'>,
  command: Pick<UnitCommand, 'objtoolArguments'>,
  object: string,
): readonly string[] {
  const late = recipe.objtoolArguments;
  if (command.objtoolArguments.length > 0 || !late.includes('--link')) return command.objtoolArguments;
  return object === 'vmlinux' ? late.filter((word) => word !== '--module') : late;
}

/** The precompiled headers of generated sources; where they were removed they are made again. */
export async function makePrelude(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  recipe: Recipe,
): Promise<Prelude> {
  const prelude = new Prelude(tree, recipe.compilerArguments);
  await prelude.make(edges, tree, join(tree.directory, 'probe', `${PROBE}.mod.c`), recipe.compilerArguments);
  return prelude;
}

function recipePath(tree: PreparedTree): string {
  return join(tree.directory, 'recipe.json');
}

export async function readRecipe(tree: PreparedTree): Promise<Recipe> {
  const parsed = Recipe.safeParse(JSON.parse(await readFile(recipePath(tree), 'utf8')));
  if (!parsed.success) {
    throw new BuilderError('tree-failed', `${recipePath(tree)} is damaged`, {
      hint: `remove ${tree.directory} and build again`,
    });
  }
  return parsed.data;
}

/** scripts/Makefile.modfinal, `cmd_ld_ko_o`: everything but the output and what follows the link. */
export function parseLink(
  text: string,
): { readonly arguments: readonly string[]; readonly inputs: readonly string[] } | undefined {
  const line = /^(?:savedcmd|cmd)_[^ ]+ := (.*)$/m.exec(text)?.[1];
  const [command, ...words] = splitWords(splitCommands(line ?? '')[0] ?? '');
  if (command === undefined || !/(?:^|\/|-)ld(?:\.bfd)?$/.test(command)) return undefined;
  const args: string[] = [];
  const inputs: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '-o') at++;
    else if (word.endsWith('.o')) inputs.push(word);
    else args.push(word);
  }
  return { arguments: args, inputs };
}

/**
 * scripts/Makefile.modpost, `cmd_modpost`: everything but the output, and the list of objects where that is a file
 * (modules.order, since 6.5).
 */
export function parseModpost(text: string): string[] | undefined {
  const words = splitWords(/^(?:savedcmd|cmd)_[^ ]+ := (.*)$/m.exec(text)?.[1] ?? '');
  const command = words.findIndex((word) => word.endsWith('scripts/mod/modpost'));
  if (command === -1) return undefined;
  const args = words.slice(command + 1);
  const output = args.indexOf('-o');
  if (output !== -1) args.splice(output, 2);
  const list = args.indexOf('-T');
  return list === -1 || args[list + 1] === '-' ? args : args.toSpliced(list, 2);
}
