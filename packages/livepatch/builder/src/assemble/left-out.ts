import { join } from 'node:path';
import { exists } from '@kmend/base/node';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';
import { isApart } from '../tree/apart.ts';
import { builtSources } from '../tree/built.ts';
import { includedTexts, includeGraph } from '../tree/included.ts';
import type { UnitContext } from './request.ts';

/**
 * C files of fixes that this kernel is not built from: its configuration leaves them out, so that a flaw in them is
 * none of this kernel's. They are left out of the build. Throws `unit-not-built` for a fix of which nothing else is
 * left, before anything is compiled.
 */
export async function findLeftOut(context: UnitContext, fixes: readonly Fix[]): Promise<ReadonlySet<string>> {
  const leftOut = new Set<string>();
  for (const fix of fixes) {
    const out: string[] = [];
    for (const path of fix.files) if (path.endsWith('.c') && !(await isBuilt(context, path))) out.push(path);
    if (out.length === 0) continue;
    const rest = fix.files.filter((path) => !out.includes(path));
    // Headers alone may be those of the files that are left out.
    const counts = rest.every((path) => path.endsWith('.h')) ? await held(context, rest) : rest;
    if (counts.length === 0) throw await notBuilt(context, fix, [...out, ...rest]);
    for (const path of out) leftOut.add(path);
  }
  return leftOut;
}

/** Those of the files that this kernel is built from: C files that are linked, and texts that such a file includes. */
export async function builtFrom(context: UnitContext, paths: readonly string[]): Promise<ReadonlySet<string>> {
  const { progress, signal } = context.edges;
  const texts = await held(
    context,
    paths.filter((path) => !path.endsWith('.c')),
  );
  const found = new Set(texts);
  const sources = paths.filter((path) => path.endsWith('.c'));
  for (const [at, path] of sources.entries()) {
    signal.throwIfAborted();
    progress.advance(at, sources.length, 'files');
    if (await isBuilt(context, path)) found.add(path);
  }
  return found;
}

async function isBuilt({ edges, tree }: UnitContext, path: string): Promise<boolean> {
  if ((await builtSources(edges, tree)).has(path) || isApart(path)) return true;
  const isIncluded = await includedTexts(edges, tree);
  return isIncluded(path) && (await held({ edges, tree }, [path])).length > 0;
}

/** Those of the texts that a file of this kernel may include. */
async function held({ edges, tree }: Pick<UnitContext, 'edges' | 'tree'>, paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const built = await builtSources(edges, tree);
  const graph = await includeGraph(edges, tree);
  return paths.filter((path) => [...graph.containersOf(path)].some((file) => built.has(file) || isApart(file)));
}

async function notBuilt({ tree }: UnitContext, { id }: Fix, paths: readonly string[]): Promise<BuilderError> {
  const { release } = tree.kernel;
  const missing = [];
  for (const path of paths) if (!(await exists(join(tree.source, path)))) missing.push(path);
  const why = missing.length === paths.length ? 'its source has no such file' : 'its configuration leaves that out';
  return new BuilderError('unit-not-built', `${release} is not built from ${paths.join(', ')}: ${why}`, {
    hint: `this kernel does not have the flaw: leave ${id} out for it, or check the path (fix import --no-check keeps it for other kernels)`,
  });
}
