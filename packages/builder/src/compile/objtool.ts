import { join } from 'node:path';
import type { Run } from '@kmend/base';
import { BuilderError } from '../error.ts';
import type { PreparedTree } from '../tree/prepare.ts';

/** Runs the kernel's own objtool on an object, in place. Its warnings are returned: they mean it did not understand the code. */
export async function runObjtool(
  run: Run,
  tree: PreparedTree,
  args: readonly string[],
  object: string,
  signal: AbortSignal,
): Promise<string[]> {
  if (args.length === 0) return [];
  const tool = join(tree.source, 'tools', 'objtool', 'objtool');
  const result = await run(tool, [...args, object], { cwd: tree.source, signal, timeoutMs: 120_000 });
  const said = result.stderr.split('\n').filter((line) => line.trim() !== '');
  if (result.exitCode !== 0) {
    throw new BuilderError('object-unsupported', `objtool failed: ${said.slice(0, 5).join('; ')}`);
  }
  return said.filter((line) => line.includes('warning: objtool:'));
}
