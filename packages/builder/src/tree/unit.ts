import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { exists, writeFileAtomic } from '@kmend/base/node';
import { moduleFiles } from '@kmend/kernel';
import { z } from 'zod';
import { BuilderError } from '../error.ts';
import type { Unit } from '../types.ts';
import { commandsOfDryRun, parseCommand, type UnitCommand } from './command.ts';
import { type PreparedTree, type TreeEdges, treeArguments } from './prepare.ts';

/** A translation unit with the command that builds it. */
export interface KnownUnit extends Unit {
  readonly command: UnitCommand;
}

const Saved = z.object({
  compiler: z.string(),
  compilerArguments: z.array(z.string()),
  objtoolArguments: z.array(z.string()),
  object: z.string(),
});

const ASK_LIMIT_MS = 5 * 60_000;
/** make(1) gets its goals as arguments: what one exec(2) may carry is bounded. */
const GOALS_AT_ONCE = 1000;

/**
 * How the tree builds source files, and into which object: Kbuild is asked for all unknown ones at once, without running anything
 * (`make -n`), and the answers are remembered. What this kernel does not build is a `BuilderError` in its place.
 */
export async function findUnits(
  edges: TreeEdges,
  tree: PreparedTree,
  sources: readonly string[],
): Promise<ReadonlyMap<string, KnownUnit | BuilderError>> {
  const commands = new Map<string, UnitCommand | undefined>();
  const unknown: string[] = [];
  for (const source of new Set(sources)) {
    const known = await readCommand(commandPath(tree, source));
    if (known !== undefined) commands.set(source, known);
    else if (source.endsWith('.c') && (await exists(join(tree.source, source)))) unknown.push(source);
    else commands.set(source, undefined);
  }
  for (let at = 0; at < unknown.length; at += GOALS_AT_ONCE) {
    for (const [source, command] of await askKbuild(edges, tree, unknown.slice(at, at + GOALS_AT_ONCE)))
      commands.set(source, command);
  }
  const modules = await moduleFiles(tree.kernel);
  const units = new Map<string, KnownUnit | BuilderError>();
  for (const source of sources) units.set(source, unitOf(tree, source, commands.get(source), modules));
  return units;
}

/** One unit, or the error that tells why there is none. */
export async function findUnit(edges: TreeEdges, tree: PreparedTree, source: string): Promise<KnownUnit> {
  const found = (await findUnits(edges, tree, [source])).get(source);
  if (found === undefined || found instanceof BuilderError)
    throw found ?? notBuilt(tree, source, 'Kbuild knows no rule');
  return found;
}

function unitOf(
  tree: PreparedTree,
  source: string,
  command: UnitCommand | undefined,
  modules: ReadonlyMap<string, string>,
): KnownUnit | BuilderError {
  if (command === undefined) {
    return source.endsWith('.c')
      ? notBuilt(tree, source, 'Kbuild has no rule for it, or the source tree has no such file')
      : new BuilderError('source-unsupported', `${source} is neither C nor a header`, {
          hint: 'changes of assembler and of build files cannot be patched live',
        });
  }
  if (command.object === 'vmlinux') return { source, object: 'vmlinux', command };
  const modulePath = modules.get(command.object);
  return modulePath === undefined
    ? notBuilt(tree, source, `its module ${command.object} is not shipped`)
    : { source, object: command.object, modulePath, command };
}

function commandPath(tree: PreparedTree, source: string): string {
  return join(tree.directory, 'units', `${source}.json`);
}

async function readCommand(path: string): Promise<UnitCommand | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  // A damaged answer is asked for again.
  return text === undefined ? undefined : Saved.safeParse(parseJson(text)).data;
}

async function askKbuild(
  edges: TreeEdges,
  tree: PreparedTree,
  sources: readonly string[],
): Promise<ReadonlyMap<string, UnitCommand>> {
  edges.progress.step(
    sources.length === 1
      ? `ask Kbuild how it builds ${sources[0]}`
      : `ask Kbuild how it builds ${sources.length} files`,
  );
  const goals = sources.map((source) => source.replace(/\.c$/, '.o'));
  const args = ['-k', '-n', '-C', tree.source, 'V=1', ...treeArguments(tree), ...goals];
  // With -k make goes on to the other files and fails at the end: what it could not answer is missing in the answer.
  const { stdout } = await edges.run('make', args, {
    signal: edges.signal,
    timeoutMs: ASK_LIMIT_MS,
    maxOutput: 512 << 20,
  });
  const lines = commandsOfDryRun(stdout.toString('utf8'));
  const commands = new Map<string, UnitCommand>();
  for (const source of sources) {
    const line = lines.get(source.replace(/\.c$/, '.o'));
    if (line === undefined) continue;
    const command = parseCommand(line);
    if (command === undefined)
      throw new BuilderError('unit-flags-unknown', `how Kbuild compiles ${source} is not understood`);
    await writeFileAtomic(commandPath(tree, source), `${JSON.stringify(command, null, 2)}\n`);
    commands.set(source, command);
  }
  return commands;
}

function notBuilt(tree: PreparedTree, source: string, why: string): BuilderError {
  return new BuilderError('unit-not-built', `${tree.kernel.release} is not built from ${source}: ${why}`, {
    hint: 'leave the file out of the fix for this kernel, or check its path',
  });
}
