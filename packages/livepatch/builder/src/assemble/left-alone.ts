import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import { compareUnit } from '../compare/compare.ts';
import type { Fix } from '../fix/model.ts';
import type { ChangedSource } from '../source/apply.ts';
import type { ChangedTexts } from '../source/changed-texts.ts';
import { changedEntities } from '../source/entities.ts';
import { holdersOf } from '../source/reach.ts';
import { isApart } from '../tree/apart.ts';
import { findUnits, type KnownUnit } from '../tree/unit.ts';
import { UnitCompiler } from './compiler.ts';
import { planChosen, planUnits } from './plan.ts';
import type { UnitContext } from './request.ts';

/** A unit that includes a changed text, and was left alone because the change was found not to reach it. */
export interface LeftAlone {
  readonly source: string;
  /**
   * It has a word that the change defines otherwise: one of those that are most likely to have been left alone wrongly.
   */
  readonly mentions: boolean;
  /** What its objects of before and after differ in; empty where it was left alone rightly. */
  readonly differences: readonly string[];
}

export interface LeftAloneSample {
  /** Units of each kind, as far as there are so many. */
  readonly count: number;
  /** Chooses others. */
  readonly seed: number;
}

/**
 * Compiles some of the units that a fix's headers do not reach all the same, before and after, and compares their
 * objects: a check of the search by what it spares. Half of them mention what changes.
 */
export async function leftAlone(
  context: UnitContext,
  sources: readonly ChangedSource[],
  fix: Fix,
  { count, seed }: LeftAloneSample,
): Promise<LeftAlone[]> {
  const reached = new Set((await planUnits(context, sources, [], [fix])).map(({ unit }) => unit.source));
  const mentioning = new Set<string>();
  const choose = async (changed: ChangedTexts): Promise<readonly KnownUnit[]> => {
    const { built, holders } = await holdersOf(context, changed);
    const words = changedWords(changed);
    for (const path of holders) {
      const text = await readFile(join(context.tree.source, path), 'latin1');
      if ((text.match(/[A-Za-z_]\w*/g) ?? []).some((word) => words.has(word))) mentioning.add(path);
    }
    const others = holders
      .filter((path) => built.has(path) && !isApart(path) && !reached.has(path))
      .map((path) => ({ path, order: sha256(`${seed} ${path}`) }))
      .sort((a, b) => (a.order < b.order ? -1 : 1))
      .map(({ path }) => path);
    const [near, far] = [true, false].map((wanted) => others.filter((path) => mentioning.has(path) === wanted));
    const chosen = [near, far].flatMap((paths) => paths?.slice(0, count) ?? []);
    const found = await findUnits(context.edges, context.tree, chosen);
    return [...found.values()].flatMap((units) => (units instanceof Error ? [] : units));
  };
  const judged: LeftAlone[] = [];
  const plan = await planChosen(context, sources, [], [fix], choose);
  for (const request of plan) {
    context.edges.signal.throwIfAborted();
    context.edges.progress.advance(judged.length, plan.length, 'files');
    const { source } = request.unit;
    const compiler = new UnitCompiler(context, request);
    const facts = await context.facts();
    const [before, after] = await Promise.all(
      [compiler.stock, await compiler.input(request.patched)].map(
        async (input) => await compiler.view((await compiler.compile(input)).object, facts),
      ),
    );
    if (before === undefined || after === undefined) continue;
    const { changed, added, reasons } = compareUnit(request.unit, before, after);
    const atoms = [...changed.values(), ...added].map(({ symbol }) => symbol?.name ?? 'without a name');
    const differences = [...atoms, ...reasons.map(({ message }) => message)];
    judged.push({ source, mentions: mentioning.has(source), differences });
  }
  return judged;
}

function changedWords({ stock, states }: ChangedTexts): ReadonlySet<string> {
  return new Set(
    states.flatMap((state) =>
      [...stock].flatMap(([path, before]) => {
        const after = state.get(path) ?? before;
        return [...changedEntities(before, after), ...changedEntities(after, before)];
      }),
    ),
  );
}
