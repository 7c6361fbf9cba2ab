import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';
import { type ApplyEdges, type ChangedSource, textAfter } from '../source/apply.ts';
import type { ChangedHeaders } from '../source/header-tree.ts';
import { markedInclude, markedText } from '../source/marked.ts';
import { isOfOtherImage, reachedUnits } from '../source/reach.ts';
import { builtSources } from '../tree/built.ts';
import { includedTexts } from '../tree/included.ts';
import { findUnits, type KnownUnit } from '../tree/unit.ts';
import type { UnitContext, UnitRequest, UnitState } from './request.ts';

/**
 * Which units a set of fixes makes to be built: each changed file that is one, and every other whose code a changed text that it includes
 * can change. A C file may be both: fs/binfmt_elf.c is a unit, and fs/compat_binfmt_elf.c includes it. `unit-not-built` where a changed C
 * file is none of this kernel's, or where nothing of this kernel includes a changed text.
 */
export async function planUnits(
  context: UnitContext,
  sources: readonly ChangedSource[],
  on: readonly Fix[],
  fixes: readonly Fix[],
): Promise<UnitRequest[]> {
  const { edges, tree } = context;
  const { files, texts } = await sorted(context, sources);
  const byPath = new Map(files.map((source) => [source.path, source]));
  const units: KnownUnit[] = [];
  for (const found of (await findUnits(edges, tree, [...byPath.keys()])).values()) {
    if (found instanceof BuilderError) throw found;
    units.push(...found);
  }
  const below = prefixes(on);
  const all = new Set([...on, ...fixes].map(({ id }) => id));
  const before = new Set(on.map(({ id }) => id));
  const states = new Map<ReadonlySet<string>, Promise<ChangedHeaders>>();
  const headersAfter = async (applied: ReadonlySet<string>): Promise<ChangedHeaders> => {
    const headers = states.get(applied) ?? changedHeaders(edges, texts, applied);
    states.set(applied, headers);
    return await headers;
  };
  if (texts.length > 0) {
    const changed = {
      stock: new Map(texts.map(({ path, stock }) => [path, stock])),
      states: await Promise.all([before, all].map(headersAfter)),
    };
    const reached = await reachedUnits(context, changed, new Set(byPath.keys()));
    if (reached.holders + units.length === 0) throw notIncluded(context, texts);
    units.push(...reached.units);
  }
  const requests: UnitRequest[] = [];
  for (const unit of units) {
    const stock = byPath.get(unit.source)?.stock ?? (await readFile(join(tree.source, unit.source), 'latin1'));
    const source = byPath.get(unit.source) ?? { path: unit.source, stock, versions: [] };
    const stateAfter = async (applied: ReadonlySet<string>): Promise<UnitState> => ({
      text: await markedText(edges, unit.spelling, stock, textAfter(source, applied)),
      headers: await headersAfter(applied),
    });
    const touching = below.filter(
      ({ fix }) =>
        source.versions.some((version) => version.fix === fix) ||
        texts.some(({ versions }) => versions.some((version) => version.fix === fix)),
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

/** The changed files that are units, and those that others include. */
async function sorted(
  { edges, tree }: UnitContext,
  sources: readonly ChangedSource[],
): Promise<{ files: ChangedSource[]; texts: ChangedSource[] }> {
  const isIncluded = await includedTexts(edges, tree);
  const texts = sources.filter(({ path }) => path.endsWith('.h') || (!path.endsWith('.S') && isIncluded(path)));
  const others = sources.filter((source) => !texts.includes(source));
  if (texts.every(({ path }) => path.endsWith('.h'))) return { files: others, texts };
  const built = await builtSources(edges, tree);
  return { files: [...others, ...texts.filter(({ path }) => built.has(path) || isOfOtherImage(path))], texts };
}

function notIncluded({ tree }: UnitContext, texts: readonly ChangedSource[]): BuilderError {
  const names = texts.map(({ path }) => path).join(', ');
  return new BuilderError('unit-not-built', `no file that ${tree.kernel.release} is built from includes ${names}`, {
    hint: 'leave the file out of the fix for this kernel, or check its path',
  });
}

function prefixes(fixes: readonly Fix[]): { fix: string; applied: ReadonlySet<string> }[] {
  return fixes.map(({ id }, index) => ({ fix: id, applied: new Set(fixes.slice(0, index + 1).map((fix) => fix.id)) }));
}

async function changedHeaders(
  edges: ApplyEdges,
  texts: readonly ChangedSource[],
  applied: ReadonlySet<string>,
): Promise<ChangedHeaders> {
  const headers = new Map<string, string>();
  for (const source of texts) {
    const text = textAfter(source, applied);
    if (text !== source.stock) headers.set(source.path, await markedInclude(edges, source.path, source.stock, text));
  }
  return headers;
}
