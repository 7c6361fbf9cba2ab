import { randomUUID } from 'node:crypto';
import type { Clock } from '@kmend/base';
import {
  ActivationKey,
  Channel,
  type CreateKeyRequest,
  type CreateKeyResponse,
  type EnrolRequest,
} from '@kmend/protocol';
import { type SqlBool, sql, type Transaction } from 'kysely';
import { ServerError } from '../error.ts';
import {
  assertSeat,
  assertValidKey,
  HOST_SEAT_MS,
  hostSeatsSince,
  packageSeatsSince,
  type SeatKey,
} from '../fleet/seats.ts';
import { type Count, hold, numberOf } from './portable.ts';
import type { Tables } from './schema.ts';
import { hashSecret, newActivationKey, newToken } from './secrets.ts';
import { initialStatus } from './status.ts';
import type { Database } from './store.ts';

export async function createKey(
  db: Database,
  request: CreateKeyRequest,
  clock: Clock,
  seatMs = HOST_SEAT_MS,
): Promise<CreateKeyResponse> {
  const key = newActivationKey();
  const row = {
    id: randomUUID(),
    name: request.name,
    hash: hashSecret(key),
    channel: request.channel,
    seats: request.seats,
    expires: request.expires,
    revoked: 0,
    created: clock.now().toISOString(),
  };
  await db.insertInto('activation_keys').values(row).execute();
  return { ...(await findKey(db, row.id, clock, seatMs)), key };
}

export async function listKeys(db: Database, clock: Clock, seatMs = HOST_SEAT_MS): Promise<ActivationKey[]> {
  const rows = await selectKeys(db, clock, seatMs).orderBy('created').orderBy('id').execute();
  return rows.map(toKey);
}

/**
 * Hosts that enrolled with the key stay enrolled. No other host can enrol or fetch packages with it. Throws
 * `not-found`.
 */
export async function revokeKey(db: Database, id: string, clock: Clock, seatMs = HOST_SEAT_MS): Promise<ActivationKey> {
  await db.updateTable('activation_keys').set({ revoked: 1 }).where('id', '=', id).where('revoked', '=', 0).execute();
  return findKey(db, id, clock, seatMs);
}

async function findKey(db: Database, id: string, clock: Clock, seatMs: number): Promise<ActivationKey> {
  const row = await selectKeys(db, clock, seatMs).where('activation_keys.id', '=', id).executeTakeFirst();
  if (row === undefined) throw new ServerError('not-found', `there is no activation key ${id}`);
  return toKey(row);
}

function selectKeys(db: Database, clock: Clock, seatMs: number) {
  const since = packageSeatsSince(clock.now());
  const hostsSince = hostSeatsSince(clock.now(), seatMs);
  return db.selectFrom('activation_keys').select((expression) => [
    'activation_keys.id',
    'name',
    'activation_keys.channel',
    'seats',
    'expires',
    'revoked',
    'created',
    expression
      .selectFrom('hosts')
      .whereRef('hosts.key_id', '=', 'activation_keys.id')
      .where(seated(hostsSince))
      .select((count) => count.fn.countAll<Count>().as('count'))
      .as('hosts'),
    expression
      .selectFrom('package_hosts')
      .whereRef('package_hosts.key_id', '=', 'activation_keys.id')
      .where('last_seen', '>=', since)
      .select((count) => count.fn.countAll<Count>().as('count'))
      .as('packageHosts'),
  ]);
}

/** Hosts that hold a seat: they reported since then, and did not enrol again as another host. */
function seated(since: string) {
  return sql<SqlBool>`replaced_by is null and coalesce(last_report, enrolled) >= ${since}`;
}

type KeyRow = Awaited<ReturnType<ReturnType<typeof selectKeys>['executeTakeFirstOrThrow']>>;

function toKey({ hosts, packageHosts, ...row }: KeyRow): ActivationKey {
  return ActivationKey.parse({ ...row, used: numberOf(hosts) + numberOf(packageHosts), revoked: row.revoked === 1 });
}

export interface Enrolled {
  readonly hostId: string;
  readonly token: string;
  readonly channel: Channel;
}

/**
 * Turns an activation key into a host with a token of its own. Key and seats are checked and the host is written in one
 * transaction, so that two hosts never share the last seat. Throws `key-unknown`, `key-revoked`, `key-expired`,
 * `key-no-seats`.
 */
export function enrol(
  db: Database,
  { activationKey, facts }: EnrolRequest,
  clock: Clock,
  seatMs = HOST_SEAT_MS,
): Promise<Enrolled> {
  return db.transaction().execute(async (transaction) => {
    const now = clock.now();
    const key = await validKey(transaction, activationKey, now);
    const host = { hostId: randomUUID(), token: newToken('kmh'), channel: key.channel };
    await replace(transaction, facts.machineId ?? null, host.hostId);
    await takeSeat(transaction, key, now, seatMs);
    const status = initialStatus();
    await transaction
      .insertInto('hosts')
      .values({
        id: host.hostId,
        key_id: key.id,
        token_hash: hashSecret(host.token),
        hostname: facts.hostname,
        release: facts.kernel.release,
        build_id: facts.kernel.buildId,
        channel: key.channel,
        enrolled: now.toISOString(),
        last_report: null,
        sequence: 0,
        digest: null,
        machine: facts.machineId ?? null,
        boot_id: facts.bootId,
        report_at: null,
        refused: null,
        replaced_by: null,
        reason: null,
        next_kernel: null,
        effective_serial: null,
        facts: JSON.stringify(facts),
        status: JSON.stringify(status),
        livepatches: '[]',
        trouble: null,
        stack: null,
        contact: status.contact.state,
        coverage: status.coverage.state,
        loaded: status.loaded.state,
        transition: status.transition.state,
        verified: status.verified.state,
      })
      .execute();
    return host;
  });
}

/**
 * A machine that enrols again (`kmend-agent enrol --again`) leaves the seat of the host that it was. That host's token
 * stays good: where it reports after all, there are two machines with one machine-id, and both hold a seat.
 */
async function replace(db: Transaction<Tables>, machine: string | null, by: string): Promise<void> {
  if (machine === null) return;
  await db.updateTable('hosts').set({ replaced_by: by }).where('machine', '=', machine).execute();
}

/** A key that lets in. Throws `key-unknown`, `key-revoked`, `key-expired`. */
export async function validKey(
  db: Database | Transaction<Tables>,
  activationKey: string,
  now: Date,
): Promise<SeatKey & { readonly channel: Channel }> {
  const row = await db
    .selectFrom('activation_keys')
    .select(['id', 'name', 'channel', 'seats', 'expires', 'revoked'])
    .where('hash', '=', hashSecret(activationKey.trim()))
    .executeTakeFirst();
  const key =
    row === undefined ? undefined : { ...row, channel: Channel.parse(row.channel), revoked: row.revoked === 1 };
  assertValidKey(key, now);
  return key;
}

/**
 * Takes a seat of the key in this transaction, so that two machines never share the last one. Throws `key-no-seats`.
 */
export async function takeSeat(db: Transaction<Tables>, key: SeatKey, now: Date, seatMs: number): Promise<void> {
  if (key.seats === null) return;
  await hold(db, 'activation_keys', key.id);
  const { hosts } = await db
    .selectFrom('hosts')
    .select((expression) => expression.fn.countAll<Count>().as('hosts'))
    .where('key_id', '=', key.id)
    .where(seated(hostSeatsSince(now, seatMs)))
    .executeTakeFirstOrThrow();
  const { packageHosts } = await db
    .selectFrom('package_hosts')
    .select((expression) => expression.fn.countAll<Count>().as('packageHosts'))
    .where('key_id', '=', key.id)
    .where('last_seen', '>=', packageSeatsSince(now))
    .executeTakeFirstOrThrow();
  assertSeat(key, { hosts: numberOf(hosts), packageHosts: numberOf(packageHosts) });
}
