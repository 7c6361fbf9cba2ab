import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CompileInput } from '../compile/compile.ts';
import { exportCrcs, exportReasons } from '../compile/exports.ts';
import type { Reason } from '../types.ts';
import type { UnitCompiler } from './compiler.ts';
import type { UnitContext, UnitRequest } from './request.ts';

/**
 * Whether the types behind what a unit exports are those that modules were built for. `scratch`: a folder for texts.
 */
export async function checkExports(
  { edges, tree, facts }: UnitContext,
  { unit, patched }: UnitRequest,
  compiler: UnitCompiler,
  scratch: string,
): Promise<Reason[]> {
  const crcs = async (input: CompileInput, name: string): Promise<ReadonlyMap<string, string>> => {
    const directory = join(scratch, name);
    await mkdir(directory);
    return await exportCrcs(edges, tree, unit, input, directory);
  };
  const [before, after] = await Promise.all([
    crcs(compiler.stock, 'crcs-stock'),
    crcs(await compiler.input(patched), 'crcs-patched'),
  ]);
  return exportReasons(unit.source, (await facts()).exports, before, after);
}
