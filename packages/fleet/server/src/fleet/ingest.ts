import { createHash } from 'node:crypto';
import type { Report } from '@kmend/protocol';

/**
 * Most by which a report's number may be above the one before. A host that cannot reach its server counts on, a try an
 * hour: a hundred thousand are eleven years of that. Without a bound, a thief of a host's token could send the
 * largest number there is, and nothing that the host says would count any more.
 */
const MAX_STEP = 100_000;
/** The first number of a host: it may have counted for another server before. */
const MAX_FIRST = 2 ** 31;

/** What the fleet knows of a host's newest report. */
export interface KnownReport {
  /** 0 before the first. */
  readonly sequence: number;
  /** `reportDigest` of what it said; `null` before the first. */
  readonly digest: string | null;
  /** When it was written, by the host's own clock. */
  readonly reportAt: string | null;
  readonly bootId: string | null;
}

/** A report that said nothing new and is not in the store yet. */
export type WaitingReport = Pick<KnownReport, 'sequence' | 'reportAt'>;

/** How a report is judged. `newest`: number of the newest report afterwards. */
export type Verdict =
  /** It says something new: it is stored whole. */
  | { readonly kind: 'news'; readonly newest: number; readonly digest: string }
  /** It says what the one before said: only that the host was heard of is noted. */
  | { readonly kind: 'same'; readonly newest: number }
  /** The fleet has this very report, or a newer one: nothing changes. */
  | { readonly kind: 'known'; readonly newest: number }
  /**
   * Its number belongs to another report of the same boot: it is rejected, and the host has to give it another number.
   */
  | { readonly kind: 'number-used'; readonly newest: number }
  /** Its number is too far above the newest: it is refused. */
  | { readonly kind: 'number-jumps'; readonly newest: number };

/**
 * Judges a report, whether the host sent it or a person carried it here. An older one changes nothing. One
 * with an equal number is judged by what it says: a host that was set back to a snapshot, and a clone of it, use
 * numbers that were used already. Pure; `waiting`: the newest report that was judged `same` and is not stored yet.
 */
export function judgeReport(known: KnownReport, waiting: WaitingReport | undefined, report: Report): Verdict {
  const { sequence } = report;
  const newest = Math.max(known.sequence, waiting?.sequence ?? 0);
  if (sequence < newest) return { kind: 'known', newest };
  if (sequence > (newest === 0 ? MAX_FIRST : newest + MAX_STEP)) return { kind: 'number-jumps', newest };
  const digest = reportDigest(report);
  const saysMore = digest !== known.digest || report.events.length > 0;
  if (sequence === newest && report.facts.bootId === known.bootId) {
    const writtenAt = waiting !== undefined && waiting.sequence >= known.sequence ? waiting.reportAt : known.reportAt;
    if (report.at === writtenAt) return { kind: 'known', newest };
    if (saysMore) return { kind: 'number-used', newest };
  }
  return saysMore ? { kind: 'news', newest: sequence, digest } : { kind: 'same', newest: sequence };
}

/** What makes a report differ from the one before. */
export function reportDigest({ facts, status, livepatches, effectiveSerial, trouble, stack }: Report): string {
  // When an axis was last seen changes with each report and says nothing new.
  const axes = Object.entries(status).map(([name, axis]) => [name, axis.state, axis.since, axis.detail]);
  return createHash('sha256')
    .update(JSON.stringify([facts, axes, livepatches, effectiveSerial, trouble, stack]))
    .digest('hex');
}

/** When a host said what a carried report says; a clock that runs ahead must not make it the newest report forever. */
export function carriedAt(report: Report, now: Date): string {
  return new Date(Math.min(Date.parse(report.at), now.getTime())).toISOString();
}
