/** The table of `script/bench coverage`. */
import type { DeltaRange } from '@kmend/kernel';
import type { AreaWork } from '@kmend/lab';
import { classOf, NOTHING, type Outcome, wholeClassOf } from '@kmend/pipeline';
import { type MutantTable, mutantText } from './mutants.ts';
import { ranText } from './ran.ts';
import type { Together } from './together.ts';

/** Outcomes of fixes: alone, and with the files that they need. */
export interface Summary {
  /** Files by the outcome of each alone. */
  readonly alone: Readonly<Record<string, number>>;
  /** Files by the outcome of each with the companions that `fix import` finds. */
  readonly whole: Readonly<Record<string, number>>;
  /** Files with anything to patch: built into this kernel, and changing code that a running kernel still runs. */
  readonly toPatch: number;
  /** Share of these that is patchable, at once or after review. */
  readonly share: number;
  /** Share of these that is patchable at once. */
  readonly patchableShare: number;
  /**
   * Share of all files that this kernel is built from: with what changes only init or exit code, or no code, counted as
   * not patchable.
   */
  readonly strictShare: number;
}

export function summarise(outcomes: readonly Outcome[]): Summary {
  const counted = (of: (outcome: Outcome) => string): Record<string, number> => {
    const classes: Record<string, number> = {};
    for (const outcome of outcomes) classes[of(outcome)] = (classes[of(outcome)] ?? 0) + 1;
    return classes;
  };
  const whole = counted(wholeClassOf);
  const count = (...names: string[]): number => names.reduce((sum, name) => sum + (whole[name] ?? 0), 0);
  const share = (part: number, of: number): number => (of === 0 ? 1 : part / of);
  const good = count('patchable', 'needs-review');
  const toPatch = outcomes.length - count(...NOTHING);
  return {
    alone: counted(classOf),
    whole,
    toPatch,
    share: share(good, toPatch),
    patchableShare: share(count('patchable'), toPatch),
    strictShare: share(good, outcomes.length - count('not-built')),
  };
}

const MEANING: Readonly<Record<string, string>> = {
  patchable: 'built, nothing to say',
  'needs-review': 'built; read the reasons first',
  refused: 'not built, for the reason given',
  'init-or-exit-only': 'nothing to patch: only code of start-up or exit, which is dropped or not traced',
  'no-code-changed':
    'nothing to patch: compiles to the same code as before (annotations, types, code that is configured out)',
  'needs-companion': 'does not compile, or is not complete, without other files of the delta',
  'no-companions-found': 'no files of the delta make it complete',
  'not-built': 'not in the configuration of this kernel',
  'audit-failed': 'a livepatch was built, and the audit refused it: a defect of the builder',
  failed: 'no verdict',
};

/** The content of a report. */
export interface Measured {
  /** The kernel's release. */
  readonly kernel: string;
  readonly range: DeltaRange;
  readonly outcomes: readonly Outcome[];
  readonly summary: Summary;
  readonly mutants?: MutantTable | undefined;
  /** All that is patchable, loaded as one livepatch. */
  readonly loaded?: Together | undefined;
}

export function reportText({ kernel, range, outcomes, summary, mutants, loaded }: Measured): string {
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const lines = [
    `# Coverage: ${range.from} to ${range.to}, for ${kernel}`,
    '',
    `${outcomes.length} C files, each as one fix by itself.`,
    '',
    '| class | alone | with companions | meaning |',
    '|---|---|---|---|',
    ...Object.entries(MEANING).map(
      ([name, meaning]) => `| ${name} | ${summary.alone[name] ?? 0} | ${summary.whole[name] ?? 0} | ${meaning} |`,
    ),
    '',
    `Of the ${summary.toPatch} files that have anything to patch, **${percent(summary.share)}** are patchable (${percent(summary.patchableShare)}) or need review, with their companions;`,
    `with what changes only init or exit code, or no code at all, counted as not patchable ${percent(summary.strictShare)}.`,
    '',
    ...fixedText(outcomes, range.to),
    '',
    ...(mutants === undefined ? [] : [mutantText(mutants), '']),
    ...(loaded === undefined ? [] : [loadedText(loaded), '']),
    '## Reasons',
    '',
    '| code | files |',
    '|---|---|',
    ...codes(outcomes).map(([code, files]) => `| ${code} | ${files} |`),
    '',
    '## Files',
    '',
    `| file | class | equal to ${range.to} | why |`,
    '|---|---|---|---|',
    ...outcomes.map(
      (outcome) => `| ${outcome.paths[0]} | ${classOf(outcome)} | ${equalText(outcome)} | ${why(outcome)} |`,
    ),
    '',
  ];
  return lines.join('\n');
}

/** How many replaced functions are what the distribution's fixed kernel has, and why the others are not. */
function fixedText(outcomes: readonly Outcome[], version: string): string[] {
  const found = outcomes.flatMap((outcome) => fixedOf(outcome) ?? []);
  const sum = (count: (one: (typeof found)[number]) => number): number =>
    found.reduce((all, one) => all + count(one), 0);
  const causes = new Map<string, number>();
  for (const { cause } of found.flatMap(({ different }) => different)) causes.set(cause, (causes.get(cause) ?? 0) + 1);
  const others = [...causes].map(([cause, count]) => `${cause} ${count}`).join(', ');
  return [
    `Equal to the distribution's fixed kernel of ${version}: **${sum(({ equal }) => equal)} of ${sum(({ compared }) => compared)}** replaced functions; the others: ${others || 'none'}.`,
  ];
}

/** With its companions, where a fix needs some. */
function fixedOf(outcome: Outcome): Outcome['fixed'] {
  return outcome.together === undefined ? outcome.fixed : outcome.together.fixed;
}

function equalText(outcome: Outcome): string {
  const fixed = fixedOf(outcome);
  return fixed === undefined ? '' : `${fixed.equal} of ${fixed.compared}`;
}

/** The outcome of all that is patchable, in one livepatch. */
export function loadedText(loaded: Together): string {
  const {
    fixes,
    functions,
    objects,
    size,
    load,
    revert,
    exercises,
    modules,
    late,
    absent,
    problems,
    hung,
    ran,
    areas: used,
  } = loaded;
  const operations = exercises.reduce((sum, exercise) => sum + exercise.operations, 0);
  const areas = Object.keys(exercises[0]?.areas ?? {});
  const skipped = exercises[0]?.skipped ?? [];
  const missing = Object.keys(absent);
  return [
    `Together: ${fixes} fixes, one cumulative livepatch of ${functions} functions in ${objects} kernel objects (${size} bytes), with ${modules.length} of the patched modules in memory`,
    `and ${late.length} loaded behind it${missing.length > 0 ? ` (${missing.join(', ')} need what the guest lacks)` : ''};`,
    load === undefined
      ? 'not loaded;'
      : `loaded under load in ${seconds(load.prepare)} s, every task was patched ${seconds(load.tasks)} s later;`,
    `exercised before, during and after: ${operations} operations in ${areas.length} areas (${areas.join(', ')})` +
      `${skipped.length > 0 ? `, without what this kernel does not have (${skipped.join(', ')})` : ''};`,
    revert === undefined
      ? 'not reverted;'
      : `reverted, every task was unpatched after ${seconds(revert.tasks)} s, and the kernel released the functions ${seconds(revert.finish)} s later;`,
    problems.length === 0
      ? 'no failure, kernel log clean.'
      : `**${problems.length} problems**: ${problems.join('; ')}.`,
    ...(ran === undefined ? [] : ['', ...areasText(used), ranText(ran)]),
    ...(hung === 0 ? [] : [`Guests before it that hung for a fault of the emulator: ${hung}.`]),
  ].join('\n');
}

/** What was used of the parts of the kernel that the livepatch patches. */
function areasText(work: readonly AreaWork[]): string[] {
  const done = work.filter(({ outcome }) => outcome === 'done');
  const rest = work.filter(({ outcome }) => outcome !== 'done');
  return [
    `Exercised of what it patches: ${done.map(({ what }) => what).join(', ') || 'nothing'}.`,
    ...rest.map(({ area, what, outcome, why: words }) => `- ${area}, ${what} ${outcome}: ${words ?? ''}`),
    '',
  ];
}

function seconds(value: number): string {
  return value.toFixed(value < 0.1 ? 3 : 1);
}

function codes(outcomes: readonly Outcome[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { reasons = [], error } of outcomes) {
    const found = new Set(reasons.map(({ code, verdict }) => `${code} (${verdict})`));
    if (error !== undefined) found.add(`${error.code} (error)`);
    for (const code of found) counts.set(code, (counts.get(code) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function why(outcome: Outcome): string {
  const { reasons = [], error, companions, together: built } = outcome;
  const text =
    companions !== undefined
      ? companions.complete
        ? `with ${companions.companions.join(' ')}: ${built === undefined ? 'not built' : `${classOf(built)} ${why(built)}`}`
        : `no companions found: ${companions.why ?? ''}`
      : (error?.message ?? [...new Set(reasons.map(({ code, message }) => `${code}: ${message}`))].join('; '));
  return text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ').slice(0, 400);
}
