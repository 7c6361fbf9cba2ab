import type { HostEvent, Report } from '@kmend/protocol';
import type { Transaction } from 'kysely';
import { judgeReport, type Verdict, type WaitingReport } from '../fleet/ingest.ts';
import { noteBoot } from './boots.ts';
import { hold } from './portable.ts';
import type { Tables } from './schema.ts';
import type { Database } from './store.ts';

/** Events kept of each host. */
export const KEPT_EVENTS = 1000;

/** A report with changes, and when it arrived. */
export interface NewReport {
  readonly hostId: string;
  readonly report: Report;
  readonly at: string;
  /** The host's newest report without changes that was not stored yet when this one arrived. */
  readonly waiting?: WaitingReport | undefined;
}

/**
 * Stores reports in one transaction, and returns the outcome of each: it is judged by what the store has at that
 * moment.
 */
export async function storeReports(db: Database, reports: readonly NewReport[]): Promise<readonly Verdict[]> {
  return await db.transaction().execute(async (transaction) => {
    const verdicts: Verdict[] = [];
    for (const report of reports) verdicts.push(await storeReport(transaction, report));
    return verdicts;
  });
}

async function storeReport(db: Transaction<Tables>, { hostId, report, at, waiting }: NewReport): Promise<Verdict> {
  const { facts, status } = report;
  await hold(db, 'hosts', hostId);
  const before = await db
    .selectFrom('hosts')
    .select(['sequence', 'digest', 'report_at', 'boot_id', 'machine', 'hostname', 'release'])
    .select(['effective_serial', 'last_report', 'enrolled'])
    .where('id', '=', hostId)
    .executeTakeFirst();
  // Removed meanwhile.
  if (before === undefined) return { kind: 'known', newest: report.sequence };
  const { sequence, digest } = before;
  const verdict = judgeReport(
    { sequence, digest, reportAt: before.report_at, bootId: before.boot_id },
    waiting,
    report,
  );
  if (verdict.kind === 'same') await noteUnchanged(db, hostId, { sequence: report.sequence, at, reportAt: report.at });
  if (verdict.kind !== 'news') return verdict;
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
      digest: verdict.digest,
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
  return verdict;
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
 * A host reports its events until it knows that they arrived: again when an answer got lost, and in every report file,
 * because it does not learn whether those arrived.
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

/** A report that says the same as the one before. */
export interface UnchangedReport {
  readonly sequence: number;
  readonly at: string;
  /** By the host's own clock. */
  readonly reportAt: string;
}

/** Records reports without changes, many at once. */
export async function storeUnchanged(db: Database, reports: ReadonlyMap<string, UnchangedReport>): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    for (const [id, one] of reports) await noteUnchanged(transaction, id, one);
  });
}

/** A newer report may have been stored since it came. */
async function noteUnchanged(db: Database, hostId: string, { sequence, at, reportAt }: UnchangedReport): Promise<void> {
  await db
    .updateTable('hosts')
    .set({ last_report: at, sequence, report_at: reportAt, replaced_by: null })
    .where('id', '=', hostId)
    .where('sequence', '<=', sequence)
    .execute();
}
