import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mergeProofs, proveUnit } from '../byte-proof/prove.ts';
import { overriddenWeak, weakFunctions, withoutOverridden } from '../byte-proof/weak.ts';
import { numberedApart } from '../compare/numbers.ts';
import type { CompiledUnit } from '../compile/compile.ts';
import { runObjtool } from '../compile/objtool.ts';
import type { ObjectView } from '../object/view.ts';
import { imageOf } from '../shipped-kernel.ts';
import type { KnownUnit } from '../tree/unit.ts';
import type { UnitProof } from '../types.ts';
import type { UnitCompiler } from './compiler.ts';
import { weakNames } from './overridden.ts';
import type { UnitContext } from './request.ts';

/** What the byte proof of a unit found. */
export interface Proven {
  readonly proof: UnitProof;
  /** Weak functions that another object of the kernel overrides; the proof leaves them out. */
  readonly overridden: readonly string[];
}

/**
 * The byte proof of a unit: its original, after the kernel's objtool, against the shipped bytes; as the builder
 * compiles it, and where that leaves a difference, or a question, also with the shipped flags alone. `scratch`: a
 * folder for copies.
 */
export async function proveOriginal(
  context: UnitContext,
  unit: KnownUnit,
  compiler: UnitCompiler,
  scratch: string,
): Promise<Proven> {
  const facts = await context.facts();
  const image = await imageOf(facts, unit);
  const provable = (compiled: CompiledUnit, name: string): Promise<ObjectView> =>
    provableView(context, unit, compiler, compiled, join(scratch, name));
  const separate = await provable(await compiler.compile(compiler.stock), 'proof.o');
  const first = proveUnit(unit, separate, image);
  const hasWeak = weakFunctions(separate).length > 0;
  if (first.different.length === 0 && !hasWeak) return { proof: first, overridden: [] };
  const shipped = await provable(await compiler.compile({ ...compiler.stock, layout: 'shipped' }), 'proof-shipped.o');
  const apart = numberedApart(separate, shipped);
  const proof = mergeProofs(first, proveUnit(unit, shipped, image), (name) => !apart.has(name));
  if (!hasWeak) return { proof, overridden: [] };
  const overridden = overriddenWeak(shipped, image, proof, await weakNames(facts, unit));
  return { proof: withoutOverridden(proof, overridden), overridden };
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
