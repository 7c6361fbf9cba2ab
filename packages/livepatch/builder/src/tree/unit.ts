import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Edges, parseJson } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { moduleFiles } from '@kmend/kernel';
import { z } from 'zod';
import { confinedMake } from '../confine.ts';
import { BuilderError } from '../error.ts';
import type { Unit } from '../types.ts';
import { isApart, isProgram } from './apart.ts';
import { linkedSources } from './built.ts';
import { commandsOfDryRun, parseCommand, type UnitCommand } from './command.ts';
import type { LinkedObject } from './lists.ts';
import { objtoolArguments, readRecipe } from './recipe.ts';
import { type PreparedTree, treeArguments } from './tree.ts';

/** A translation unit of one kernel object, with the command that builds it. */
export interface KnownUnit extends Unit {
  /**
   * The path that Kbuild gives the compiler, so that `__FILE__` shows it: `arch/x86/kvm/../../../virt/kvm/kvm_main.c`.
   */
  readonly spelling: string;
  readonly command: UnitCommand;
}

const Saved = z.object({
  compiler: z.string(),
  compilerArguments: z.array(z.string()),
  objtoolArguments: z.array(z.string()),
});

const ASK_LIMIT_MS = 5 * 60_000;
/** make(1) gets its goals as arguments: what one exec(2) may carry is bounded. */
const GOALS_AT_ONCE = 1000;

/**
 * How the tree builds source files, one unit for each object that one is linked into: Kbuild is asked for all unknown
 * ones at once, without running anything (`make -n`), and the answers are remembered. What this kernel does not build
 * is a `BuilderError` in its place.
 */
export async function findUnits(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  sources: readonly string[],
): Promise<ReadonlyMap<string, readonly KnownUnit[] | BuilderError>> {
  const linked = await linkedSources(edges, tree);
  const objects = new Map<string, readonly LinkedObject[]>();
  for (const source of sources) objects.set(source, linked.get(source) ?? (await objectApart(tree, source)));
  const commands = await findCommands(
    edges,
    tree,
    [...objects.values()].flatMap((found) => found.map(({ target }) => target)),
  );
  const modules = await moduleFiles(tree.kernel);
  const recipe = await readRecipe(tree);
  const units = new Map<string, readonly KnownUnit[] | BuilderError>();
  for (const [source, found] of objects) {
    const known = found.flatMap(({ target, object }) => {
      const compiled = commands.get(target);
      if (compiled === undefined) return [];
      const command = { ...compiled, objtoolArguments: objtoolArguments(recipe, compiled, object) };
      const modulePath = modules.get(object);
      const unit = { source, object, spelling: target.replace(/\.o$/, '.c'), command };
      return [modulePath === undefined ? unit : { ...unit, modulePath }];
    });
    const isWhole = known.length > 0 && known.length === found.length;
    units.set(
      source,
      isWhole ? known : isApart(source) || found.length === 0 ? notBuilt(tree, source) : unclear(source),
    );
  }
  return units;
}

/**
 * The unit that a file of another image is; those are in no list of what the kernel and its modules are linked from.
 * A program of the build is none.
 */
async function objectApart(tree: PreparedTree, source: string): Promise<LinkedObject[]> {
  if (!isApart(source)) return [];
  const text = await readFile(join(tree.source, source), 'latin1').catch(() => '');
  return isProgram(text) ? [] : [{ target: source.replace(/\.c$/, '.o'), object: 'vmlinux' }];
}

/** By Kbuild's names of the object files. */
async function findCommands(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  targets: readonly string[],
): Promise<ReadonlyMap<string, UnitCommand>> {
  const commands = new Map<string, UnitCommand>();
  const unknown: string[] = [];
  for (const target of new Set(targets)) {
    const known = await readCommand(commandPath(tree, target));
    if (known === undefined) unknown.push(target);
    else commands.set(target, known);
  }
  for (let at = 0; at < unknown.length; at += GOALS_AT_ONCE) {
    for (const [target, command] of await askKbuild(edges, tree, unknown.slice(at, at + GOALS_AT_ONCE)))
      commands.set(target, command);
  }
  return commands;
}

function commandPath(tree: PreparedTree, target: string): string {
  // Two folders may name one file, each in its own way and with its own flags.
  return join(tree.directory, 'units', `${target.replaceAll('..', 'up')}.json`);
}

async function readCommand(path: string): Promise<UnitCommand | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  // A damaged answer is asked for again.
  return text === undefined ? undefined : Saved.safeParse(parseJson(text)).data;
}

async function askKbuild(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  targets: readonly string[],
): Promise<ReadonlyMap<string, UnitCommand>> {
  const [first = ''] = targets;
  edges.progress.step(`ask Kbuild how it builds ${targets.length === 1 ? first : `${targets.length} files`}`);
  const args = ['-k', '-n', '-C', tree.source, 'V=1', ...treeArguments(tree), ...targets];
  // With -k make goes on to the other files and fails at the end: what it could not answer is missing in the answer.
  const { stdout } = await confinedMake(edges.run, tree.root, tree.directory)('make', args, {
    signal: edges.signal,
    timeoutMs: ASK_LIMIT_MS,
    maxOutput: 512 << 20,
  });
  const lines = commandsOfDryRun(stdout.toString('utf8'));
  const commands = new Map<string, UnitCommand>();
  for (const target of targets) {
    const line = lines.get(target);
    if (line === undefined) continue;
    const command = parseCommand(line);
    if (command === undefined)
      throw new BuilderError('unit-flags-unknown', `how Kbuild compiles ${target} is not understood`);
    await writeFileAtomic(commandPath(tree, target), `${JSON.stringify(command, null, 2)}\n`);
    commands.set(target, command);
  }
  return commands;
}

function unclear(source: string): BuilderError {
  return new BuilderError('unit-flags-unknown', `Kbuild links ${source}, but does not say how it is compiled`);
}

function notBuilt(tree: PreparedTree, source: string): BuilderError {
  if (!source.endsWith('.c')) {
    return new BuilderError('source-unsupported', `${source} is neither C nor a header`, {
      hint: 'changes of assembler and of build files cannot be patched live',
    });
  }
  const message = `${tree.kernel.release} is not built from ${source}: its configuration leaves the file out`;
  return new BuilderError('unit-not-built', message, {
    hint: 'this kernel does not have the flaw: leave the fix out for this kernel',
  });
}
