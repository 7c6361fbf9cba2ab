import { randomUUID } from 'node:crypto';
import type { Clock } from '@kmend/base';
import {
  ActivationKey,
  Channel,
  type CreateKeyRequest,
  type CreateKeyResponse,
  type EnrolRequest,
} from '@kmend/protocol';
import { type Selectable, sql, type Transaction } from 'kysely';
import { ServerError } from '../error.ts';
import type { Tables } from './schema.ts';
import { HOST_SEAT_MS, hostSeatsSince, seatsSince } from './seats.ts';
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

/** Hosts that enrolled with the key go on; no further one can, and none gets packages with it. Throws `not-found`. */
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
  const since = seatsSince(clock.now());
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
      .select((count) => count.fn.countAll<number>().as('count'))
      .as('hosts'),
    expression
      .selectFrom('package_hosts')
      .whereRef('package_hosts.key_id', '=', 'activation_keys.id')
      .where('last_seen', '>=', since)
      .select((count) => count.fn.countAll<number>().as('count'))
      .as('packageHosts'),
  ]);
}

/** Hosts that hold a seat: heard of since then, and not enrolled anew as another host. */
function seated(since: string) {
  return sql<boolean>`replaced_by is null and coalesce(last_report, enrolled) >= ${since}`;
}

type KeyRow = Awaited<ReturnType<ReturnType<typeof selectKeys>['executeTakeFirstOrThrow']>>;

function toKey({ hosts, packageHosts, ...row }: KeyRow): ActivationKey {
  return ActivationKey.parse({ ...row, used: (hosts ?? 0) + (packageHosts ?? 0), revoked: row.revoked === 1 });
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
    const now = clock.now().toISOString();
    const key = await validKey(transaction, activationKey, now);
    const host = { hostId: randomUUID(), token: newToken('kmh'), channel: Channel.parse(key.channel) };
    await replace(transaction, facts.machineId ?? null, host.hostId);
    await requireSeat(transaction, key, now, seatMs);
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
        enrolled: now,
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
 * A machine that enrols again (`kmend-agent enrol --again`) leaves the seat of the host that it was. That host's token stays good: where it
 * reports after all, there are two machines with one machine-id, and both hold a seat.
 */
async function replace(db: Transaction<Tables>, machine: string | null, by: string): Promise<void> {
  if (machine === null) return;
  await db.updateTable('hosts').set({ replaced_by: by }).where('machine', '=', machine).execute();
}

/** A key's row. Throws `key-unknown`, `key-revoked`, `key-expired`. */
export async function validKey(db: Database | Transaction<Tables>, activationKey: string, now: string) {
  const key = await db
    .selectFrom('activation_keys')
    .selectAll()
    .where('hash', '=', hashSecret(activationKey.trim()))
    .executeTakeFirst();
  if (key === undefined) {
    throw new ServerError('key-unknown', 'this server does not know the activation key', {
      hint: 'check for a typing error, and that the host uses the right server',
    });
  }
  const details = { id: key.id, name: key.name };
  if (key.revoked === 1) {
    const hint = 'ask the operator for another key';
    throw new ServerError('key-revoked', `the activation key "${key.name}" was revoked`, { hint, details });
  }
  if (key.expires !== null && Date.parse(key.expires) <= Date.parse(now)) {
    const hint = 'ask the operator for a new key';
    throw new ServerError('key-expired', `the activation key "${key.name}" expired at ${key.expires}`, {
      hint,
      details,
    });
  }
  return key;
}

/** Throws `key-no-seats` where enrolled hosts and machines that fetch packages have taken them all. */
export async function requireSeat(
  db: Transaction<Tables>,
  { id, name, seats }: Pick<Selectable<Tables['activation_keys']>, 'id' | 'name' | 'seats'>,
  now: string,
  seatMs: number,
): Promise<void> {
  if (seats === null) return;
  const { hosts } = await db
    .selectFrom('hosts')
    .select((expression) => expression.fn.countAll<number>().as('hosts'))
    .where('key_id', '=', id)
    .where(seated(hostSeatsSince(new Date(now), seatMs)))
    .executeTakeFirstOrThrow();
  const { packageHosts } = await db
    .selectFrom('package_hosts')
    .select((expression) => expression.fn.countAll<number>().as('packageHosts'))
    .where('key_id', '=', id)
    .where('last_seen', '>=', seatsSince(new Date(now)))
    .executeTakeFirstOrThrow();
  if (hosts + packageHosts < seats) return;
  throw new ServerError('key-no-seats', `all ${seats} seats of the activation key "${name}" are taken`, {
    hint: 'remove hosts that are gone, or ask the operator for a key with more seats',
    details: { id, name },
  });
}
