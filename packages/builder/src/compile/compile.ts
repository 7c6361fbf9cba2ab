import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Run } from '@kmend/base';
import { exists, sha256 } from '@kmend/base/node';
import { BuilderError } from '../error.ts';
import type { PreparedTree } from '../tree/prepare.ts';
import type { KnownUnit } from '../tree/unit.ts';

export interface CompileEdges {
  readonly run: Run;
  readonly signal: AbortSignal;
}

/**
 * `separate`: every function and variable in a section of its own, to compare and extract by. `shipped`: Kbuild's flags alone; some
 * jumps between functions are shorter so.
 */
export type Layout = 'separate' | 'shipped';

const ADDED: Readonly<Record<Layout, readonly string[]>> = {
  separate: ['-ffunction-sections', '-fdata-sections'],
  shipped: [],
};

/**
 * Compiles one text of a unit straight with the compiler. Objects are cached by everything that goes in: the tree, the command
 * and the text. Returns the object's path in the cache.
 */
export async function compileUnit(
  edges: CompileEdges,
  tree: PreparedTree,
  unit: KnownUnit,
  text: string,
  cacheDirectory: string,
  layout: Layout = 'separate',
): Promise<string> {
  const { compiler, compilerArguments } = unit.command;
  const args = [...compilerArguments, ...ADDED[layout]];
  const key = sha256([tree.kernel.buildId, tree.kernel.compiler.text, unit.source, ...args, text].join('\0'));
  const parent = join(cacheDirectory, 'objects');
  const object = join(parent, `${key}.o`);
  if (await exists(object)) return object;
  await mkdir(parent, { recursive: true });
  const scratch = await mkdtemp(join(parent, '.compile-'));
  try {
    const input = join(scratch, basename(unit.source));
    const output = join(scratch, 'unit.o');
    await writeFile(input, text);
    // The copy lies elsewhere: what it includes from beside itself is found through -iquote.
    const where = ['-iquote', dirname(unit.source), '-c', '-o', output, input];
    const result = await edges.run(compiler, [...args, ...where], {
      cwd: tree.source,
      signal: edges.signal,
      timeoutMs: 10 * 60_000,
    });
    if (result.exitCode !== 0) {
      const errors = result.stderr.split('\n').filter((line) => /\b(?:fatal )?error:/.test(line));
      const shown = (errors.length > 0 ? errors : result.stderr.trim().split('\n')).slice(0, 5).join('\n');
      throw new BuilderError('patch-does-not-compile', `${unit.source} does not compile:\n${shown}`, {
        hint: 'line numbers are those of the unpatched file; a fix for another kernel series may need others before it',
      });
    }
    await rename(output, object);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return object;
}
