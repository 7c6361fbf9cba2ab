import { createHash } from 'node:crypto';
import type { HostEvent, Report } from '@kmend/protocol';
import { noteBoot } from './boots.ts';
import type { Database } from './store.ts';

/** Events kept of each host. */
export const KEPT_EVENTS = 1000;

/** What makes a report differ from the one before. */
export function reportDigest({ facts, status, livepatches, effectiveSerial, trouble, stack }: Report): string {
  // When an axis was last seen changes with each report and says nothing new.
  const axes = Object.entries(status).map(([name, axis]) => [name, axis.state, axis.since, axis.detail]);
  return createHash('sha256')
    .update(JSON.stringify([facts, axes, livepatches, effectiveSerial, trouble, stack]))
    .digest('hex');
}

/** A report that says something new, with when it came. */
export interface NewReport {
  readonly hostId: string;
  readonly report: Report;
  readonly digest: string;
  readonly at: string;
}

/**
 * Stores reports in one transaction. Older sequences than the stored one change nothing; an equal one does: whoever
 * restores a snapshot of a host makes it count some numbers twice.
 */
export async function storeReports(db: Database, reports: readonly NewReport[]): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    for (const report of reports) await storeReport(transaction, report);
  });
}

async function storeReport(db: Database, { hostId, report, digest, at }: NewReport): Promise<void> {
  const { facts, status } = report;
  const before = await db
    .selectFrom('hosts')
    .select(['boot_id', 'machine', 'hostname', 'release', 'effective_serial', 'last_report', 'enrolled'])
    .where('id', '=', hostId)
    .where('sequence', '<=', report.sequence)
    .executeTakeFirst();
  if (before === undefined) return;
  await noteBoot(db, hostId, before, report);
  await db
    .updateTable('hosts')
    .set({
      hostname: facts.hostname,
      release: facts.kernel.release,
      build_id: facts.kernel.buildId,
      last_report: at,
      sequence: report.sequence,
      report_at: report.at,
      machine: facts.machineId ?? null,
      boot_id: facts.bootId,
      replaced_by: null,
      reason: report.trouble?.reason ?? null,
      next_kernel: facts.pendingKernel === undefined ? null : (facts.pendingKernel?.release ?? ''),
      digest,
      effective_serial: report.effectiveSerial,
      facts: JSON.stringify(facts),
      status: JSON.stringify(status),
      livepatches: JSON.stringify(report.livepatches),
      trouble: report.trouble === undefined ? null : JSON.stringify(report.trouble),
      stack: report.stack === undefined ? null : JSON.stringify(report.stack),
      contact: status.contact.state,
      coverage: status.coverage.state,
      loaded: status.loaded.state,
      transition: status.transition.state,
      verified: status.verified.state,
    })
    .where('id', '=', hostId)
    .execute();
  if (report.events.length > 0) await storeEvents(db, hostId, report.events);
}

/** Milliseconds between two events about refused reports: a sender of such reports sends many. */
const REFUSAL_MS = 3_600_000;

/** Notes for the operator that a report of a host was refused, as an event of the host. */
export async function noteRefusal(db: Database, hostId: string, now: Date, message: string): Promise<void> {
  const at = now.toISOString();
  const { numUpdatedRows } = await db
    .updateTable('hosts')
    .set({ refused: at })
    .where('id', '=', hostId)
    .where((where) =>
      where.or([
        where('refused', 'is', null),
        where('refused', '<', new Date(now.getTime() - REFUSAL_MS).toISOString()),
      ]),
    )
    .executeTakeFirst();
  if (numUpdatedRows > 0n) await storeEvents(db, hostId, [{ at, code: 'report-refused', message }]);
}

async function storeEvents(db: Database, hostId: string, events: readonly HostEvent[]): Promise<void> {
  const fresh = await withoutKnown(db, hostId, events);
  if (fresh.length === 0) return;
  const rows = fresh.map(({ at, code, message, serial }) => ({
    host_id: hostId,
    at,
    code,
    message,
    serial: serial ?? null,
  }));
  // SQLite takes 32,766 parameters; a report has at most 500 events of five.
  await db.insertInto('host_events').values(rows).execute();
  await db
    .deleteFrom('host_events')
    .where('host_id', '=', hostId)
    .where('id', '<=', (expression) =>
      expression
        .selectFrom('host_events')
        .select('id')
        .where('host_id', '=', hostId)
        .orderBy('id', 'desc')
        .offset(KEPT_EVENTS)
        .limit(1),
    )
    .execute();
}

/**
 * A host tells its events until it knows that they arrived: again when an answer got lost, and in every report file,
 * because it is not told what became of those.
 */
async function withoutKnown(db: Database, hostId: string, events: readonly HostEvent[]): Promise<HostEvent[]> {
  const oldest = events.reduce((least, { at }) => (at < least ? at : least), events[0]?.at ?? '');
  const known = await db
    .selectFrom('host_events')
    .select(['at', 'code', 'message', 'serial'])
    .where('host_id', '=', hostId)
    .where('at', '>=', oldest)
    .execute();
  const key = ({ at, code, message, serial }: { [name in keyof HostEvent]: unknown }): string =>
    JSON.stringify([at, code, message, serial ?? null]);
  const keys = new Set(known.map(key));
  return events.filter((event) => !keys.has(key(event)));
}

export interface Seen {
  readonly sequence: number;
  readonly at: string;
  /** By the host's own clock. */
  readonly reportAt: string;
}

/** Notes reports that said nothing new, many at once. */
export async function storeSeen(db: Database, seen: ReadonlyMap<string, Seen>): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    for (const [id, { sequence, at, reportAt }] of seen) {
      await transaction
        .updateTable('hosts')
        .set({ last_report: at, sequence, report_at: reportAt, replaced_by: null })
        .where('id', '=', id)
        .where('sequence', '<=', sequence)
        .execute();
    }
  });
}
