import type { Report } from '@kmend/protocol';
import { ServerError } from '../error.ts';
import type { KnownHost } from '../store/hosts.ts';
import { noteRefusal, reportDigest } from '../store/reports.ts';
import type { AppContext } from './context.ts';

/**
 * Most by which a report's number may be above the one before. A host that cannot reach its server counts on, a try an
 * hour: a hundred thousand are eleven years of that. Without a bound, a thief of a host's token could send the largest
 * number there is, and nothing that the host says would count any more.
 */
const MAX_STEP = 100_000;
/** The first number of a host: it may have counted for another server before. */
const MAX_FIRST = 2 ** 31;

export interface Taken {
  /** False: the server had this very report already, or a newer one, and nothing changed. */
  readonly stored: boolean;
  /** Number of the newest report that the server now has. */
  readonly newest: number;
  /** Its number belongs to another report of the same boot: it was not taken, and the host has to number it anew. */
  readonly used?: true;
}

/**
 * Takes a report; `at`: when the host said so. One that is older than the newest changes nothing. One with an equal
 * number is judged by what it says: a host that was set back to a snapshot, and a clone of it, use numbers that were
 * used already. Throws `sequence-jump`.
 */
export async function takeReport(
  context: Pick<AppContext, 'store' | 'seen' | 'writer' | 'clock'>,
  host: KnownHost,
  report: Report,
  at: string,
): Promise<Taken> {
  const { sequence } = report;
  const waiting = context.seen.of(host.id);
  const newest = Math.max(host.sequence, waiting?.sequence ?? 0);
  if (sequence < newest) return { stored: false, newest };
  if (sequence > (newest === 0 ? MAX_FIRST : newest + MAX_STEP)) {
    await noteRefusal(
      context.store,
      host.id,
      context.clock.now(),
      `report ${sequence} was refused: the newest is ${newest}`,
    );
    throw new ServerError(
      'sequence-jump',
      `the report's number, ${sequence}, is too far above the newest one, ${newest}`,
      {
        hint: 'another machine may use this host’s token, or the host’s state is damaged: ask the operator for kmend host show and kmend host reset',
      },
    );
  }
  const digest = reportDigest(report);
  if (sequence === newest && report.facts.bootId === host.bootId) {
    if (report.at === (waiting?.reportAt ?? host.reportAt)) return { stored: false, newest };
    if (digest !== host.digest || report.events.length > 0) return { stored: false, newest, used: true };
  }
  if (digest === host.digest && report.events.length === 0) {
    context.seen.add(host.id, { sequence, at, reportAt: report.at });
  } else {
    await context.writer.write({ hostId: host.id, report, digest, at });
  }
  return { stored: true, newest: sequence };
}
