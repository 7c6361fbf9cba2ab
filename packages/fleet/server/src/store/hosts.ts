import type { Clock } from '@kmend/base';
import { Channel, HostDetail, type HostMachine, type HostPage, type HostQuery, HostSummary } from '@kmend/protocol';
import { sql } from 'kysely';
import type { z } from 'zod';
import { ServerError } from '../error.ts';
import { AXES, type HostGroup, isNoneNeeded, NONE_NEEDED, presenceOf } from '../fleet/presence.ts';
import { otherMachines } from './boots.ts';
import { type Count, contains, flag, numberOf } from './portable.ts';
import { KEPT_EVENTS } from './reports.ts';
import { hashSecret } from './secrets.ts';
import type { Database } from './store.ts';

export interface KnownHost {
  readonly id: string;
  readonly channel: Channel;
  readonly sequence: number;
  readonly digest: string | null;
  /** When its newest report was written, by its own clock. */
  readonly reportAt: string | null;
  readonly bootId: string | null;
}

/** The host a bearer token belongs to. */
export function hostByToken(db: Database, token: string): Promise<KnownHost | undefined> {
  return knownHost(db, 'token_hash', hashSecret(token));
}

export function hostById(db: Database, id: string): Promise<KnownHost | undefined> {
  return knownHost(db, 'id', id);
}

async function knownHost(db: Database, column: 'id' | 'token_hash', value: string): Promise<KnownHost | undefined> {
  const row = await db
    .selectFrom('hosts')
    .select(['id', 'channel', 'sequence', 'digest', 'report_at as reportAt', 'boot_id as bootId'])
    .where(column, '=', value)
    .executeTakeFirst();
  return row === undefined ? undefined : { ...row, channel: Channel.parse(row.channel) };
}

const SUMMARY = [
  'id',
  'hostname',
  'release',
  'build_id',
  'channel',
  'status',
  'effective_serial',
  'enrolled',
  'last_report',
  'facts',
  'replaced_by',
  'reason',
] as const;

interface SummaryRow {
  readonly id: string;
  readonly hostname: string;
  readonly release: string;
  readonly build_id: string;
  readonly channel: string;
  readonly status: string;
  readonly effective_serial: number | null;
  readonly enrolled: string;
  readonly last_report: string | null;
  readonly facts: string;
  readonly replaced_by: string | null;
  readonly reason: string | null;
}

function summaryOf(row: SummaryRow, silentSince: string, machines: readonly HostMachine[] = []): HostSummary {
  const { pendingKernel } = JSON.parse(row.facts);
  return HostSummary.parse({
    id: row.id,
    hostname: row.hostname,
    release: row.release,
    buildId: row.build_id,
    channel: row.channel,
    status: JSON.parse(row.status),
    effectiveSerial: row.effective_serial,
    enrolled: row.enrolled,
    lastReport: row.last_report,
    presence: presenceOf(
      { enrolled: row.enrolled, lastReport: row.last_report, replacedBy: row.replaced_by },
      silentSince,
    ),
    ...(isNoneNeeded(row.reason, row.effective_serial) ? { noneNeeded: true } : {}),
    ...(pendingKernel === undefined ? {} : { pendingKernel }),
    ...(machines.length === 0 ? {} : { otherMachines: machines }),
  });
}

/** A page of hosts by name; `after` continues where the page before ended, however many hosts were added meanwhile. */
export async function listHosts(
  db: Database,
  query: z.output<typeof HostQuery>,
  silentSince: string,
): Promise<HostPage> {
  const matching = () => {
    const all = db.selectFrom('hosts');
    if (query.search === undefined || query.search === '') return all;
    const { search } = query;
    return all.where((expression) => contains(expression.ref('hostname'), search));
  };
  const { total } = await matching()
    .select((expression) => expression.fn.countAll<Count>().as('total'))
    .executeTakeFirstOrThrow();
  const cursor = query.after === undefined ? undefined : parseCursor(query.after);
  let page = matching()
    .select(SUMMARY)
    .orderBy('hostname')
    .orderBy('id')
    .limit(query.limit + 1);
  if (cursor !== undefined) {
    page = page.where((where) =>
      where.or([
        where('hostname', '>', cursor.hostname),
        where.and([where('hostname', '=', cursor.hostname), where('id', '>', cursor.id)]),
      ]),
    );
  }
  const rows = await page.execute();
  const shown = rows.slice(0, query.limit);
  const ids = shown.map(({ id }) => id);
  const machines = await otherMachines(db, ids, silentSince);
  const hosts = shown.map((row) => summaryOf(row, silentSince, machines.get(row.id)));
  const last = hosts.at(-1);
  const next = rows.length > query.limit && last !== undefined ? cursorOf(last.hostname, last.id) : null;
  return { hosts, total: numberOf(total), next };
}

function cursorOf(hostname: string, id: string): string {
  return Buffer.from(`${id}${hostname}`).toString('base64url');
}

const ID_LENGTH = 36;

function parseCursor(cursor: string): { readonly hostname: string; readonly id: string } {
  const text = Buffer.from(cursor, 'base64url').toString();
  return { id: text.slice(0, ID_LENGTH), hostname: text.slice(ID_LENGTH) };
}

/** Throws `not-found`. Hosts last heard of before `silentSince` are silent; by default none is. */
export async function showHost(db: Database, id: string, silentSince = ''): Promise<HostDetail> {
  const row = await db
    .selectFrom('hosts')
    .select([...SUMMARY, 'livepatches', 'trouble', 'stack', 'refused'])
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) throw noHost(id);
  const events = await db
    .selectFrom('host_events')
    .select(['at', 'code', 'message', 'serial'])
    .where('host_id', '=', id)
    .orderBy('id', 'desc')
    .limit(KEPT_EVENTS)
    .execute();
  const machines = await otherMachines(db, [id], silentSince);
  return HostDetail.parse({
    ...summaryOf(row, silentSince, machines.get(id)),
    refused: row.refused,
    facts: JSON.parse(row.facts),
    livepatches: JSON.parse(row.livepatches),
    trouble: row.trouble === null ? null : JSON.parse(row.trouble),
    stack: row.stack === null ? null : JSON.parse(row.stack),
    events: events.map(({ serial, ...event }) => (serial === null ? event : { ...event, serial })),
  });
}

/** Number of removals that are remembered; an older one is reported as unknown, and has to enrol again too. */
const KEPT_REMOVALS = 10_000;

/** Removes a host: frees its seat; with its token it only learns that it was removed. Throws `not-found`. */
export async function removeHost(db: Database, id: string, clock: Clock): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const host = await transaction
      .deleteFrom('hosts')
      .where('id', '=', id)
      .returning(['token_hash', 'id as host_id', 'hostname'])
      .executeTakeFirst();
    if (host === undefined) throw noHost(id);
    await transaction
      .insertInto('removed_hosts')
      .values({ ...host, removed: clock.now().toISOString() })
      .execute();
    await transaction
      .deleteFrom('removed_hosts')
      .where('token_hash', 'in', (removals) =>
        removals
          .selectFrom('removed_hosts')
          .select('token_hash')
          .orderBy('removed', 'desc')
          .offset(KEPT_REMOVALS)
          .limit(1000),
      )
      .execute();
  });
}

/** When the host that this token belonged to was removed. */
export async function removalByToken(db: Database, token: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('removed_hosts')
    .select('removed')
    .where('token_hash', '=', hashSecret(token))
    .executeTakeFirst();
  return row?.removed;
}

/** Resets a host's count of reports, and forgets its clones. Throws `not-found`. */
export async function resetHost(db: Database, id: string): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const { numUpdatedRows } = await transaction
      .updateTable('hosts')
      .set({ sequence: 0, digest: null, report_at: null, refused: null })
      .where('id', '=', id)
      .executeTakeFirst();
    if (numUpdatedRows === 0n) throw noHost(id);
    await transaction.deleteFrom('host_boots').where('host_id', '=', id).execute();
  });
}

function noHost(id: string): ServerError {
  return new ServerError('not-found', `there is no host ${id}`, { hint: 'see "kmend host list"' });
}

/**
 * Hosts that say the same, counted; one that enrolled again counts once. Hosts last heard of before `silentSince` are
 * silent.
 */
export async function groupHosts(db: Database, silentSince: string): Promise<HostGroup[]> {
  const silent = flag(sql`coalesce(last_report, enrolled) < ${silentSince}`);
  const needless = flag(sql`reason = ${NONE_NEEDED} and effective_serial is null`);
  const kernel = sql<
    HostGroup['nextKernel']
  >`case when next_kernel is null then 'unknown' when next_kernel = '' then 'newest' else 'waits-for-reboot' end`;
  const rows = await db
    .selectFrom('hosts')
    .select((expression) => [
      ...AXES,
      sql<number>`${silent}`.as('silent'),
      sql<number>`${needless}`.as('needless'),
      kernel.as('kernel'),
      expression.fn.countAll<Count>().as('hosts'),
    ])
    .where('replaced_by', 'is', null)
    .groupBy([...AXES, 'silent', 'needless', 'kernel'])
    .execute();
  return rows.map(({ silent, needless, kernel, hosts, ...axes }) => ({
    ...axes,
    isSilent: silent === 1,
    isNoneNeeded: needless === 1,
    nextKernel: kernel,
    hosts: numberOf(hosts),
  }));
}
