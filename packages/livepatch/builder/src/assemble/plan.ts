import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';
import { type ChangedSource, textAfter } from '../source/apply.ts';
import type { ChangedTexts } from '../source/changed-texts.ts';
import type { ChangedHeaders } from '../source/header-tree.ts';
import { markedInclude, markedText } from '../source/marked.ts';
import { isOfOtherImage, reachedUnits, witnessUnits } from '../source/reach.ts';
import { builtSources } from '../tree/built.ts';
import { includedTexts } from '../tree/included.ts';
import { findUnits, type KnownUnit } from '../tree/unit.ts';
import type { UnitContext, UnitRequest, UnitState } from './request.ts';

/**
 * Which units a set of fixes makes to be built: each changed file that is one, and every other whose code a changed
 * text that it includes can change. A C file may be both: fs/binfmt_elf.c is a unit, and fs/compat_binfmt_elf.c
 * includes it. `unit-not-built` where a changed C file is none of this kernel's, or where nothing of this kernel
 * includes a changed text.
 */
export async function planUnits(
  context: UnitContext,
  sources: readonly ChangedSource[],
  on: readonly Fix[],
  fixes: readonly Fix[],
): Promise<UnitRequest[]> {
  const { files, texts, changed, applied } = await changesOf(context, sources, on, fixes);
  const units: KnownUnit[] = [];
  const found = await findUnits(
    context.edges,
    context.tree,
    files.map(({ path }) => path),
  );
  for (const each of found.values()) {
    if (each instanceof BuilderError) throw each;
    units.push(...each);
  }
  if (texts.length > 0) {
    const reached = await reachedUnits(context, changed, new Set(found.keys()));
    if (reached.holders + units.length === 0) throw notIncluded(context, texts);
    units.push(...reached.units);
  }
  return await requestsFor(context, applied, units);
}

/** A unit that a moving record reaches. */
export interface Witness {
  readonly request: UnitRequest;
  /** Records that are known to it and that may move, as C calls them without `struct`. */
  readonly moving: readonly string[];
}

/**
 * Units to build before all others, because a header that many files include moves a record: where one of them is
 * refused, that is the answer, and the other files are not looked at. Empty where no record moves.
 */
export async function planWitnesses(
  context: UnitContext,
  sources: readonly ChangedSource[],
  on: readonly Fix[],
  fixes: readonly Fix[],
): Promise<Witness[]> {
  let moving: readonly string[] = [];
  const requests = await planChosen(context, sources, on, fixes, async (changed) => {
    const found = await witnessUnits(context, changed);
    moving = found.moving;
    return found.units;
  });
  return requests.map((request) => ({ request, moving }));
}

/** Units that are chosen by the changed texts which others include; none where no such text changes. */
export async function planChosen(
  context: UnitContext,
  sources: readonly ChangedSource[],
  on: readonly Fix[],
  fixes: readonly Fix[],
  choose: (changed: ChangedTexts) => Promise<readonly KnownUnit[]>,
): Promise<UnitRequest[]> {
  const { texts, changed, applied } = await changesOf(context, sources, on, fixes);
  return texts.length === 0 ? [] : await requestsFor(context, applied, await choose(changed));
}

/** Changed files, and their states in a series of fixes. */
interface Applied {
  readonly files: readonly ChangedSource[];
  readonly texts: readonly ChangedSource[];
  readonly below: readonly { readonly fix: string; readonly applied: ReadonlySet<string> }[];
  /** Fixes of the state that the livepatch changes, and of the one that it makes. */
  readonly before: ReadonlySet<string>;
  readonly all: ReadonlySet<string>;
  headersAfter(applied: ReadonlySet<string>): Promise<ChangedHeaders>;
}

async function changesOf(
  context: UnitContext,
  sources: readonly ChangedSource[],
  on: readonly Fix[],
  fixes: readonly Fix[],
): Promise<Pick<Applied, 'files' | 'texts'> & { readonly changed: ChangedTexts; readonly applied: Applied }> {
  const { files, texts } = await sorted(context, sources);
  const all = new Set([...on, ...fixes].map(({ id }) => id));
  const before = new Set(on.map(({ id }) => id));
  const states = new Map<ReadonlySet<string>, Promise<ChangedHeaders>>();
  const headersAfter = async (applied: ReadonlySet<string>): Promise<ChangedHeaders> => {
    const headers = states.get(applied) ?? changedHeaders(context.edges, texts, applied);
    states.set(applied, headers);
    return await headers;
  };
  const changed = {
    stock: new Map(texts.map(({ path, stock }) => [path, stock])),
    states: await Promise.all([before, all].map(headersAfter)),
  };
  return { files, texts, changed, applied: { files, texts, below: prefixes(on), before, all, headersAfter } };
}

async function requestsFor(
  { edges, tree }: UnitContext,
  { files, texts, below, before, all, headersAfter }: Applied,
  units: readonly KnownUnit[],
): Promise<UnitRequest[]> {
  const byPath = new Map(files.map((source) => [source.path, source]));
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
  edges: Pick<Edges, 'run' | 'signal'>,
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
