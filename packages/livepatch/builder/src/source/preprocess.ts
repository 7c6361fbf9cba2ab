import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Edges } from '@kmend/base';
import { COMPILER_LIMITS, placeArguments } from '../compile/compile.ts';
import { confined } from '../confine.ts';
import type { PreparedTree } from '../tree/tree.ts';
import type { KnownUnit } from '../tree/unit.ts';

/** A unit as the preprocessor shows it: some ten times its own size. */
const OUTPUT_LIMIT = 128 << 20;
const LIMIT_MS = 120_000;

/**
 * The preprocessed text of a unit, with the very flags that it is compiled with; `undefined` where it cannot be had.
 */
export async function preprocess(
  edges: Pick<Edges, 'run' | 'signal'>,
  tree: PreparedTree,
  unit: KnownUnit,
  text: string,
  root: string,
): Promise<string | undefined> {
  const scratch = await mkdtemp(join(tmpdir(), 'kmend-cpp-'));
  try {
    const source = join(scratch, basename(unit.source));
    await writeFile(source, text, 'latin1');
    const { compiler, compilerArguments } = unit.command;
    const run = await confined(edges.run, tree.root, [root, source]);
    const result = await run(compiler, [...compilerArguments, ...placeArguments(unit), '-E', source], {
      cwd: root,
      signal: edges.signal,
      timeoutMs: LIMIT_MS,
      maxOutput: OUTPUT_LIMIT,
      limits: COMPILER_LIMITS,
    });
    return result.exitCode === 0 ? result.stdout.toString('latin1') : undefined;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Whether one of the files of the tree is among those that a preprocessed text is made of. */
export function isMadeOf(preprocessed: string, paths: ReadonlySet<string>): boolean {
  for (const [, name = ''] of preprocessed.matchAll(/^# \d+ "([^"]+)"/gm)) {
    if (paths.has(name.startsWith('./') ? name.slice(2) : name)) return true;
    // `fs/btrfs/tests/../ctree.h`
    if (name.includes('../') && paths.has(join(name))) return true;
  }
  return false;
}
