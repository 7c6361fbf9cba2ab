import { Channel, HostDetail, type HostPage, type HostQuery, HostSummary } from '@kmend/protocol';
import { sql } from 'kysely';
import type { z } from 'zod';
import { ServerError } from '../error.ts';
import { KEPT_EVENTS } from './reports.ts';
import { hashSecret } from './secrets.ts';
import type { Database } from './store.ts';

export interface KnownHost {
  readonly id: string;
  readonly channel: Channel;
  readonly sequence: number;
  readonly digest: string | null;
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
    .select(['id', 'channel', 'sequence', 'digest'])
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
}

function summaryOf(row: SummaryRow): z.input<typeof HostSummary> {
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
  });
}

/** A page of hosts by name; `after` continues where the page before ended, however many hosts were added meanwhile. */
export async function listHosts(db: Database, query: z.output<typeof HostQuery>): Promise<HostPage> {
  const matching = () => {
    const all = db.selectFrom('hosts');
    if (query.search === undefined || query.search === '') return all;
    // instr, not like: no wildcard to escape.
    return all.where(sql<boolean>`instr(hostname, ${query.search}) > 0`);
  };
  const { total } = await matching()
    .select((expression) => expression.fn.countAll<number>().as('total'))
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
  const hosts = rows.slice(0, query.limit).map(summaryOf);
  const last = hosts.at(-1);
  const next = rows.length > query.limit && last !== undefined ? cursorOf(last.hostname, last.id) : null;
  return { hosts, total, next };
}

function cursorOf(hostname: string, id: string): string {
  return Buffer.from(`${id}${hostname}`).toString('base64url');
}

const ID_LENGTH = 36;

function parseCursor(cursor: string): { readonly hostname: string; readonly id: string } {
  const text = Buffer.from(cursor, 'base64url').toString();
  return { id: text.slice(0, ID_LENGTH), hostname: text.slice(ID_LENGTH) };
}

/** Throws `not-found`. */
export async function showHost(db: Database, id: string): Promise<HostDetail> {
  const row = await db
    .selectFrom('hosts')
    .select([...SUMMARY, 'facts', 'livepatches', 'trouble', 'stack'])
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
  return HostDetail.parse({
    ...summaryOf(row),
    facts: JSON.parse(row.facts),
    livepatches: JSON.parse(row.livepatches),
    trouble: row.trouble === null ? null : JSON.parse(row.trouble),
    stack: row.stack === null ? null : JSON.parse(row.stack),
    events: events.map(({ serial, ...event }) => (serial === null ? event : { ...event, serial })),
  });
}

/** Forgets a host: its token stops working and its seat is free. Throws `not-found`. */
export async function removeHost(db: Database, id: string): Promise<void> {
  const { numDeletedRows } = await db.deleteFrom('hosts').where('id', '=', id).executeTakeFirst();
  if (numDeletedRows === 0n) throw noHost(id);
}

function noHost(id: string): ServerError {
  return new ServerError('not-found', `there is no host ${id}`, { hint: 'see "kmend host list"' });
}

export const AXES = ['contact', 'coverage', 'loaded', 'transition', 'verified'] as const;

export interface AxisCount {
  readonly axis: (typeof AXES)[number];
  readonly state: string;
  readonly hosts: number;
}

/** Hosts by state, for each axis. */
export async function countByAxis(db: Database): Promise<AxisCount[]> {
  const rows = await db
    .selectFrom('hosts')
    .select((expression) => [...AXES, expression.fn.countAll<number>().as('hosts')])
    .groupBy(AXES)
    .execute();
  const counts = new Map<string, AxisCount>();
  for (const row of rows) {
    for (const axis of AXES) {
      const key = `${axis} ${row[axis]}`;
      counts.set(key, { axis, state: row[axis], hosts: (counts.get(key)?.hosts ?? 0) + row.hosts });
    }
  }
  return [...counts.values()];
}
