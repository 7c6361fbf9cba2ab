import { access, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { withLock, writeFileAtomic } from '@kmend/base/node';
import { moduleFiles } from '@kmend/kernel';
import { z } from 'zod';
import { BuilderError } from '../error.ts';
import type { Unit } from '../types.ts';
import { parseCommand, type UnitCommand } from './command.ts';
import { makeArguments, type PreparedTree, type TreeEdges } from './prepare.ts';

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

/**
 * How the tree builds a source file, and into which object: asked of Kbuild once a file, then remembered. `unit-not-built`
 * where this kernel does not build it.
 */
export async function findUnit(edges: TreeEdges, tree: PreparedTree, source: string): Promise<KnownUnit> {
  const path = join(tree.directory, 'units', `${source}.json`);
  const command = (await readCommand(path)) ?? (await askKbuild(edges, tree, source, path));
  if (command.object === 'vmlinux') return { source, object: 'vmlinux', command };
  const modulePath = (await moduleFiles(tree.kernel)).get(command.object);
  if (modulePath === undefined) throw notBuilt(tree, source, `its module ${command.object} is not shipped`);
  return { source, object: command.object, modulePath, command };
}

async function readCommand(path: string): Promise<UnitCommand | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : Saved.parse(JSON.parse(text));
}

async function askKbuild(edges: TreeEdges, tree: PreparedTree, source: string, path: string): Promise<UnitCommand> {
  if (!source.endsWith('.c')) {
    throw new BuilderError('source-unsupported', `${source} is not a C file that is compiled by itself`, {
      hint: 'changes of headers, assembler and build files are not supported yet',
    });
  }
  const present = await access(join(tree.source, source)).then(
    () => true,
    () => false,
  );
  if (!present) throw notBuilt(tree, source, 'the source tree has no such file');
  return await withLock(
    join(tree.directory, '.kbuild.lock'),
    async () => {
      const object = source.replace(/\.c$/, '.o');
      edges.progress.step(`ask Kbuild how it builds ${source}`);
      const args = ['-s', '-C', tree.source, ...makeArguments(tree.kernel), object];
      const result = await edges.run('make', args, { signal: edges.signal });
      if (result.exitCode !== 0) throw notBuilt(tree, source, lastLine(result.stderr));
      const commandFile = join(tree.source, dirname(object), `.${basename(object)}.cmd`);
      const text = await readFile(commandFile, 'utf8').catch(() => '');
      const command = parseCommand(text);
      if (command === undefined) {
        throw new BuilderError('unit-flags-unknown', `how Kbuild compiles ${source} is not understood`);
      }
      await rm(join(tree.source, object), { force: true });
      await writeFileAtomic(path, `${JSON.stringify(command, null, 2)}\n`);
      return command;
    },
    { signal: edges.signal },
  );
}

function notBuilt(tree: PreparedTree, source: string, why: string): BuilderError {
  return new BuilderError('unit-not-built', `${tree.kernel.release} is not built from ${source}: ${why}`, {
    hint: 'leave the file out of the fix for this kernel, or check its path',
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
