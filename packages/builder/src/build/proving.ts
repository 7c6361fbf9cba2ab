import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { numberedApart } from '../compare/numbers.ts';
import type { CompiledUnit } from '../compile/compile.ts';
import { runObjtool } from '../compile/objtool.ts';
import { imageOf } from '../facts.ts';
import type { ObjectView } from '../object/view.ts';
import { mergeProofs, proveUnit } from '../proof/prove.ts';
import type { KnownUnit } from '../tree/unit.ts';
import type { UnitProof } from '../types.ts';
import type { UnitCompiler } from './compiler.ts';
import type { UnitContext } from './request.ts';

/**
 * The byte proof of a unit: its original, after the kernel's objtool, against the shipped bytes; as the builder compiles it, and where that
 * leaves a difference also with the shipped flags alone. `scratch`: a folder for copies.
 */
export async function proveOriginal(
  context: UnitContext,
  unit: KnownUnit,
  compiler: UnitCompiler,
  scratch: string,
): Promise<UnitProof> {
  const facts = await context.facts();
  const image = await imageOf(facts, unit);
  const provable = (compiled: CompiledUnit, name: string): Promise<ObjectView> =>
    provableView(context, unit, compiler, compiled, join(scratch, name));
  const view = await provable(await compiler.compile(compiler.stock), 'proof.o');
  const proof = proveUnit(unit, view, image);
  if (proof.different.length === 0) return proof;
  const shipped = await compiler.compile({ ...compiler.stock, layout: 'shipped' });
  const shippedView = await provable(shipped, 'proof-shipped.o');
  const apart = numberedApart(view, shippedView);
  return mergeProofs(proof, proveUnit(unit, shippedView, image), (name) => !apart.has(name));
}

/** A compiled unit as it is compared with shipped bytes: a copy at `path`, after the kernel's objtool, taken apart. */
export async function provableView(
  context: UnitContext,
  unit: KnownUnit,
  compiler: UnitCompiler,
  compiled: CompiledUnit,
  path: string,
): Promise<ObjectView> {
  await copyFile(compiled.object, path);
  await runObjtool(context.edges.run, context.tree, unit.command.objtoolArguments, path, context.edges.signal);
  return await compiler.view(path, await context.facts());
}
