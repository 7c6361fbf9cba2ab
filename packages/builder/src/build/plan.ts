import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';
import { type ChangedSource, textAfter } from '../source/apply.ts';
import { changedEntities } from '../source/entities.ts';
import type { ChangedHeaders } from '../source/header-tree.ts';
import { markedText } from '../source/marked.ts';
import { reachOf } from '../source/reach.ts';
import { includedSources } from '../tree/included.ts';
import { findUnits, type KnownUnit } from '../tree/unit.ts';
import type { UnitContext, UnitRequest, UnitState } from './request.ts';

/**
 * Which units a set of fixes makes to be built: each changed file that is one, and for changed headers those that their changes can
 * reach. `unit-not-built` where a changed C file is none of this kernel's.
 */
export async function planUnits(
  context: UnitContext,
  sources: readonly ChangedSource[],
  on: readonly Fix[],
  fixes: readonly Fix[],
): Promise<UnitRequest[]> {
  const { edges, tree } = context;
  const included = await includedSources(edges, tree);
  const headers = sources.filter(({ path }) => path.endsWith('.h') || included.has(path));
  const files = sources.filter((source) => !headers.includes(source));
  const byPath = new Map(files.map((source) => [source.path, source]));
  const units: KnownUnit[] = [];
  for (const found of (await findUnits(edges, tree, [...byPath.keys()])).values()) {
    if (found instanceof BuilderError) throw found;
    units.push(...found);
  }
  if (headers.length > 0) units.push(...(await reached(context, headers, included, new Set(byPath.keys()))));
  const below = prefixes(on);
  const all = new Set([...on, ...fixes].map(({ id }) => id));
  const before = new Set(on.map(({ id }) => id));
  const requests: UnitRequest[] = [];
  for (const unit of units) {
    const stock = byPath.get(unit.source)?.stock ?? (await readFile(join(tree.source, unit.source), 'latin1'));
    const source = byPath.get(unit.source) ?? { path: unit.source, stock, versions: [] };
    const stateAfter = async (applied: ReadonlySet<string>): Promise<UnitState> => ({
      text: await markedText(edges, unit.spelling, stock, textAfter(source, applied)),
      headers: headersAfter(headers, applied),
    });
    const touching = below.filter(
      ({ fix }) =>
        source.versions.some((version) => version.fix === fix) ||
        headers.some(({ versions }) => versions.some((version) => version.fix === fix)),
    );
    requests.push({
      unit,
      reached: !byPath.has(unit.source),
      stock: await markedText(edges, unit.spelling, stock, stock),
      base: await stateAfter(before),
      patched: await stateAfter(all),
      below: await Promise.all(touching.map(async ({ fix, applied }) => ({ fix, state: await stateAfter(applied) }))),
    });
  }
  return requests;
}

function prefixes(fixes: readonly Fix[]): { fix: string; applied: ReadonlySet<string> }[] {
  return fixes.map(({ id }, index) => ({ fix: id, applied: new Set(fixes.slice(0, index + 1).map((fix) => fix.id)) }));
}

function headersAfter(headers: readonly ChangedSource[], applied: ReadonlySet<string>): ChangedHeaders {
  const texts = new Map<string, string>();
  for (const header of headers) {
    const text = textAfter(header, applied);
    if (text !== header.stock) texts.set(header.path, text);
  }
  return texts;
}

/** Units that changed headers can change, without those that the fixes change themselves. */
async function reached(
  context: UnitContext,
  headers: readonly ChangedSource[],
  included: ReadonlyMap<string, readonly string[]>,
  known: ReadonlySet<string>,
): Promise<KnownUnit[]> {
  const { edges, tree } = context;
  const names = new Set<string>();
  const files = new Set<string>();
  for (const { path, stock, versions } of headers) {
    const includers = included.get(path);
    if (includers !== undefined) for (const includer of includers) files.add(includer);
    else for (const name of changedEntities(stock, versions.at(-1)?.text ?? stock)) names.add(name);
  }
  if (names.size > 0) {
    for (const path of await reachOf(edges, tree, [...names])) files.add(path);
  }
  // An included C file stands for the units that include it, and they may be included themselves.
  for (const path of files) for (const includer of included.get(path) ?? []) files.add(includer);
  const candidates = [...files].filter((path) => !known.has(path) && !included.has(path)).sort();
  const units = await findUnits(edges, tree, candidates);
  return [...units.values()].flatMap((found) => (found instanceof BuilderError ? [] : found));
}
