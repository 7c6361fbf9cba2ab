import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CompiledUnit } from '../compile/compile.ts';
import { more } from '../review/assembler.ts';
import { mayAddTopLevel, topLevelReasons } from '../review/top-level.ts';
import { preprocess } from '../source/preprocess.ts';
import type { Reason } from '../types.ts';
import type { UnitCompiler } from './compiler.ts';
import type { UnitContext, UnitRequest, UnitState } from './request.ts';

/** What a unit has of assembler code that its base has not, and that is seen only behind all macros. */
export async function addedAssembler(
  context: UnitContext,
  request: UnitRequest,
  compiler: UnitCompiler,
  before: CompiledUnit,
  after: CompiledUnit,
): Promise<Reason[]> {
  const { unit, base, patched } = request;
  const files = more(before.assembled, after.assembled);
  const reasons: Reason[] = [];
  if (files.length > 0) {
    const message = `assembler code of ${unit.source} takes in ${files.slice(0, 3).join(', ')} (.incbin, .include): a livepatch must be built from its source alone`;
    reasons.push({ code: 'assembler-include', verdict: 'refused', message, source: unit.source });
  }
  if (!(await mayDiffer(context, request))) return reasons;
  const textOf = async (state: UnitState): Promise<string> => {
    const { root } = await compiler.input(state);
    // Without its text all that the patched state has counts as added.
    return (await preprocess(context.edges, context.tree, unit, state.text, root)) ?? '';
  };
  const [old, fresh] = await Promise.all([textOf(base), textOf(patched)]);
  return [...reasons, ...topLevelReasons(unit.source, old, fresh)];
}

async function mayDiffer({ tree }: UnitContext, { base, patched }: UnitRequest): Promise<boolean> {
  if (mayAddTopLevel(base.text, patched.text)) return true;
  for (const [path, text] of patched.headers) {
    const before = base.headers.get(path) ?? (await readFile(join(tree.source, path), 'latin1'));
    if (mayAddTopLevel(before, text)) return true;
  }
  return false;
}
