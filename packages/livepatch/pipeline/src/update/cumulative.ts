import { rm } from 'node:fs/promises';
import { errorText, KmendError } from '@kmend/base';
import type { Fix } from '@kmend/builder';
import type { Kernel } from '@kmend/kernel';
import type { Livepatch, ToldReason } from '@kmend/protocol';
import { isCovered, largestGood } from '@kmend/update';
import { buildLivepatch } from '../build.ts';
import type { Workshop } from '../workshop.ts';

/** A fix that is good by itself. */
export interface CumulativeFix {
  readonly fix: Fix;
  /** What was to be reviewed of it, and was accepted. */
  readonly accepted: readonly ToldReason[];
}

export interface Cumulative {
  /** Absent if no fix is left. */
  readonly livepatch?: Livepatch;
  /** Fixes that cannot be built with the others, by their ids, with the reasons. */
  readonly dropped: ReadonlyMap<string, readonly ToldReason[]>;
}

/**
 * Builds one cumulative livepatch of as many fixes as can be built together. Those that the builder names are left out
 * first; where it names none, halving finds them. What only all together raise for review was accepted by nobody: such
 * a fix is left out too.
 */
export async function cumulative(
  workshop: Workshop,
  { kernel, out }: { readonly kernel: Kernel; readonly out: string },
  fixes: readonly CumulativeFix[],
): Promise<Cumulative> {
  const dropped = new Map<string, readonly ToldReason[]>();
  const attempt = async (some: readonly CumulativeFix[]): Promise<Livepatch | readonly ToldReason[]> => {
    const accepted = some.flatMap((one) => one.accepted);
    const what = { fixes: some.map(({ fix }) => fix), kind: 'cumulative', on: [], acceptReview: true } as const;
    try {
      const livepatch = await buildLivepatch(workshop, { ...what, kernel: kernel.buildId, out });
      const against = livepatch.reasons.filter((reason) => !isCovered([reason], accepted));
      return against.length === 0 ? livepatch : against;
    } catch (error) {
      workshop.edges.signal.throwIfAborted();
      if (!(error instanceof KmendError)) throw error;
      return [{ code: error.code, verdict: 'refused', message: errorText(error).slice(0, 4000) }];
    }
  };
  let left = fixes;
  while (left.length > 0) {
    const made = await attempt(left);
    if (!isReasons(made)) return { livepatch: made, dropped };
    const named = Map.groupBy(made, (reason) => fixOf(reason, left));
    const unnamed = left.filter(({ fix }) => !named.has(fix.id));
    const stay =
      unnamed.length < left.length ? unnamed : await largestGood(left, async (some) => !isReasons(await attempt(some)));
    for (const one of left) if (!stay.includes(one)) dropped.set(one.fix.id, named.get(one.fix.id) ?? made);
    left = stay;
  }
  await rm(out, { recursive: true, force: true });
  return { dropped };
}

/** The id of the fix that a reason is about: the one it names, or the one that changes the file it names. */
function fixOf({ fix, source }: ToldReason, fixes: readonly CumulativeFix[]): string {
  const owner = fixes.find((one) => source !== undefined && one.fix.files.includes(source));
  return fix ?? owner?.fix.id ?? '';
}

function isReasons(made: Livepatch | readonly ToldReason[]): made is readonly ToldReason[] {
  return Array.isArray(made);
}
