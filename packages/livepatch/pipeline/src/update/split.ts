import type { ToldReason } from '@kmend/protocol';
import { connectedSets, joined, largestGood, type ShownReason } from '@kmend/update';
import { classOf, NOTHING, wholeClassOf } from '../judge/class.ts';
import type { FixFiles, Outcome } from '../judge/judge.ts';

/** A fix of an update that is built by itself. */
export interface SplitFix extends FixFiles {
  /** What a person has to read before it is used. */
  readonly questions: readonly ToldReason[];
}

/** A fix that there is no livepatch of. */
export interface DeadFix extends FixFiles {
  readonly state: 'refused' | 'nothing-to-patch' | 'not-built';
  readonly reasons: readonly ShownReason[];
}

export interface Split {
  /** No file is in two of them whole or in part. */
  readonly fixes: readonly SplitFix[];
  readonly dead: readonly DeadFix[];
}

/** Judges a fix; `companions`: with the files that it needs, where it does not stand alone. */
export type Judge = (fix: FixFiles, companions: boolean) => Promise<Outcome>;

interface Live extends FixFiles {
  readonly patched: readonly string[];
  readonly outcome: Outcome;
}

/**
 * Splits the changed files of an update into fixes that can be built: each C file with the files that it needs, joined
 * with those it has a file in common with, and with those whose functions it replaces. Then headers that none of these
 * has whole. Where a set cannot be built as a whole, its largest part that can, with a question to a person.
 */
export async function splitUpdate(files: readonly string[], judge: Judge): Promise<Split> {
  const alone = async (path: string) => ({ path, outcome: await judge({ paths: [path] }, true) });
  const sources = await Promise.all(files.filter((path) => !path.endsWith('.h')).map(alone));
  const taken = new Set(sources.flatMap(({ path, outcome }) => wholePaths(liveOf(path, outcome))));
  const headers = files.filter((path) => path.endsWith('.h') && !taken.has(path));
  const judged = [...sources, ...(await Promise.all(headers.map(alone)))];
  const live: Live[] = [];
  const dead: DeadFix[] = [];
  for (const { path, outcome } of judged) {
    const found = liveOf(path, outcome);
    if (found === undefined) dead.push(deadOf(path, outcome));
    else live.push(found);
  }
  const fixes: SplitFix[] = [];
  const refused = new Set(dead.filter(({ state }) => state === 'refused').flatMap(({ paths }) => paths));
  for (const set of connectedSets(live)) {
    const { chosen, outcome, left } = await largestOf(set, judge);
    const files = joined(chosen);
    dead.push(...left);
    const used = chosen
      .flatMap(({ patched }) => patched)
      .filter((path) => refused.has(path) && !files.paths.includes(path));
    const parted = [...left.flatMap(({ paths }) => paths[0] ?? []), ...used];
    const questions = (outcome.reasons ?? []).filter(({ verdict }) => verdict === 'needs-review');
    fixes.push({ ...files, questions: [...questions, ...[...new Set(parted)].map(setSplit)] });
  }
  // What another fix has whole is not refused any more.
  const whole = new Set(fixes.flatMap(wholePaths));
  return { fixes, dead: dead.filter(({ paths }) => !paths.every((path) => whole.has(path))) };
}

async function largestOf(set: readonly Live[], judge: Judge) {
  const [first] = set;
  if (first !== undefined && set.length === 1) return { chosen: set, outcome: first.outcome, left: [] };
  const outcomes = new Map<readonly Live[], Outcome>();
  let why: Outcome | undefined;
  const chosen = await largestGood(set, async (some) => {
    const [one, ...others] = some;
    const outcome = one !== undefined && others.length === 0 ? one.outcome : await judge(joined(some), false);
    outcomes.set(some, outcome);
    const isGood = isBuilt(outcome);
    if (!isGood) why = outcome;
    return isGood;
  });
  const outcome = outcomes.get(chosen);
  if (outcome === undefined) throw new Error('a set of fixes that are good by themselves has none that is good');
  const reasons = (why === undefined ? [] : refusalsOf(why)).map(({ code, message }) => ({
    code,
    message: `cannot be built with the fixes that it belongs to: ${message}`,
  }));
  const left = set
    .filter((one) => !chosen.includes(one))
    .map(({ paths, parts }): DeadFix => ({ paths, parts, state: 'refused', reasons }));
  return { chosen, outcome, left };
}

function setSplit(path: string): ToldReason {
  const message = `it belongs together with the change of ${path}, which is refused: is it right without that?`;
  return { code: 'set-split', verdict: 'needs-review', source: path, message };
}

function wholePaths(fix: FixFiles | undefined): string[] {
  return (fix?.paths ?? []).filter((path) => fix?.parts?.[path] === undefined);
}

function isBuilt({ verdict }: Outcome): boolean {
  return verdict === 'patchable' || verdict === 'needs-review';
}

/** The fix that can be built: of the file alone, or with its companions. */
function liveOf(path: string, outcome: Outcome): Live | undefined {
  const { together, companions } = outcome;
  if (companions === undefined)
    return isBuilt(outcome) ? { paths: [path], patched: outcome.patched ?? [], outcome } : undefined;
  if (together === undefined || !isBuilt(together)) return undefined;
  return { paths: together.paths, parts: companions.parts, patched: together.patched ?? [], outcome: together };
}

function deadOf(path: string, outcome: Outcome): DeadFix {
  const kind = wholeClassOf(outcome);
  const told = outcome.together ?? outcome;
  if (kind === 'not-built') return { paths: [path], state: 'not-built', reasons: [] };
  if (NOTHING.includes(kind))
    return { paths: [path], state: 'nothing-to-patch', reasons: [{ code: classOf(told), message: NOTHING_TEXT }] };
  return { paths: [path], state: 'refused', reasons: refusalsOf(outcome) };
}

const NOTHING_TEXT = 'it changes no code that a running kernel still runs';

/** Why there is no livepatch: of the fix with its companions, where there are some. */
function refusalsOf(outcome: Outcome): ShownReason[] {
  const { error, reasons = [], together, companions } = outcome;
  if (together !== undefined) return refusalsOf(together);
  const refused = reasons.filter(({ verdict }) => verdict === 'refused');
  const all = [...(error === undefined ? [] : [error]), ...refused].map(({ code, message }) => ({ code, message }));
  const why = companions?.why;
  return why === undefined ? all : [...all, { code: 'no-companions', message: why }];
}
