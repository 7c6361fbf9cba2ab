import { join } from 'node:path';
import type { Run } from '@kmend/base';
import { confinedChecker } from '../confine.ts';
import { BuilderError } from '../error.ts';
import type { PreparedTree } from '../tree/tree.ts';

/**
 * Runs the kernel's own objtool on an object, in place. Its warnings are returned: they mean it did not understand the
 * code.
 */
export async function runObjtool(
  run: Run,
  tree: PreparedTree,
  args: readonly string[],
  object: string,
  signal: AbortSignal,
): Promise<string[]> {
  if (args.length === 0) return [];
  const tool = join(tree.source, 'tools', 'objtool', 'objtool');
  const confinedRun = confinedChecker(run, tree.root, tree.source, object);
  const result = await confinedRun(tool, [...args, object], { cwd: tree.source, signal, timeoutMs: 120_000 });
  const said = result.stderr.split('\n').filter((line) => line.trim() !== '');
  if (result.exitCode !== 0) {
    throw new BuilderError('object-unsupported', `objtool failed: ${said.slice(0, 5).join('; ')}`);
  }
  return said.filter((line) => line.includes('warning: objtool:'));
}

/** tools/objtool/check.c: code that goes on where nothing follows, as far as objtool can see. */
const ENDS = /unexpected end of section|falls through to next function/;

/**
 * Runs objtool on an extracted object, in place. Whether a function of the same file ever returns it sees only where
 * that function is too: what comes behind a call of one that does not is believed where the whole unit, which `whole`
 * is a copy of, raises no such warning.
 */
export async function runObjtoolOnPart(
  run: Run,
  tree: PreparedTree,
  args: readonly string[],
  object: string,
  whole: () => Promise<string>,
  signal: AbortSignal,
): Promise<string[]> {
  const warnings = await runObjtool(run, tree, args, object, signal);
  if (!warnings.some((warning) => ENDS.test(warning))) return warnings;
  const ofWhole = await runObjtool(run, tree, args, await whole(), signal);
  return ofWhole.some((warning) => ENDS.test(warning)) ? warnings : warnings.filter((warning) => !ENDS.test(warning));
}
