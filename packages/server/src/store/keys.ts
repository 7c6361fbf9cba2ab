import { randomUUID } from 'node:crypto';
import type { Clock } from '@kmend/base';
import {
  ActivationKey,
  Channel,
  type CreateKeyRequest,
  type CreateKeyResponse,
  type EnrolRequest,
} from '@kmend/protocol';
import type { Transaction } from 'kysely';
import { ServerError } from '../error.ts';
import type { Tables } from './schema.ts';
import { hashSecret, newActivationKey, newToken } from './secrets.ts';
import { initialStatus } from './status.ts';
import type { Database } from './store.ts';

export async function createKey(db: Database, request: CreateKeyRequest, clock: Clock): Promise<CreateKeyResponse> {
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
  return { ...(await findKey(db, row.id)), key };
}

export async function listKeys(db: Database): Promise<ActivationKey[]> {
  const rows = await selectKeys(db).orderBy('created').orderBy('id').execute();
  return rows.map(toKey);
}

/** Hosts that enrolled with the key go on; no further one can. Throws `not-found`. */
export async function revokeKey(db: Database, id: string): Promise<ActivationKey> {
  await db.updateTable('activation_keys').set({ revoked: 1 }).where('id', '=', id).where('revoked', '=', 0).execute();
  return findKey(db, id);
}

async function findKey(db: Database, id: string): Promise<ActivationKey> {
  const row = await selectKeys(db).where('activation_keys.id', '=', id).executeTakeFirst();
  if (row === undefined) throw new ServerError('not-found', `there is no activation key ${id}`);
  return toKey(row);
}

function selectKeys(db: Database) {
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
      .select((count) => count.fn.countAll<number>().as('count'))
      .as('used'),
  ]);
}

function toKey(
  row: Omit<ActivationKey, 'channel' | 'revoked' | 'used'> & { channel: string; revoked: number; used: number | null },
) {
  return ActivationKey.parse({ ...row, used: row.used ?? 0, revoked: row.revoked === 1 });
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
export function enrol(db: Database, { activationKey, facts }: EnrolRequest, clock: Clock): Promise<Enrolled> {
  return db.transaction().execute(async (transaction) => {
    const now = clock.now().toISOString();
    const key = await usableKey(transaction, activationKey, now);
    const host = { hostId: randomUUID(), token: newToken('kmh'), channel: Channel.parse(key.channel) };
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
        effective_serial: null,
        facts: JSON.stringify(facts),
        status: JSON.stringify(status),
        livepatches: '[]',
        trouble: null,
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

async function usableKey(db: Transaction<Tables>, activationKey: string, now: string) {
  const key = await db
    .selectFrom('activation_keys')
    .selectAll()
    .where('hash', '=', hashSecret(activationKey.trim()))
    .executeTakeFirst();
  if (key === undefined) {
    throw new ServerError('key-unknown', 'the activation key is not one of this server’s', {
      hint: 'check for a typing mistake, and that the host asks the right server',
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
  if (key.seats !== null) {
    const { used } = await db
      .selectFrom('hosts')
      .select((expression) => expression.fn.countAll<number>().as('used'))
      .where('key_id', '=', key.id)
      .executeTakeFirstOrThrow();
    if (used >= key.seats) {
      throw new ServerError('key-no-seats', `all ${key.seats} seats of the activation key "${key.name}" are taken`, {
        hint: 'remove hosts that are gone, or ask the operator for a key with more seats',
        details,
      });
    }
  }
  return key;
}
