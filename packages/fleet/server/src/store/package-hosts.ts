import type { Clock } from '@kmend/base';
import type { PackageSeats } from '@kmend/protocol/packages';
import { ServerError } from '../error.ts';
import { requireSeat, validKey } from './keys.ts';
import { seatsSince } from './seats.ts';
import type { Database } from './store.ts';

/** Milliseconds between two notes of one machine: `apt` asks for many files in one run. */
const NOTE_MS = 3_600_000;

export interface PackageVisitor {
  readonly activationKey: string;
  /** What the machine calls itself; `undefined`: it does not say. */
  readonly label: string | undefined;
}

/**
 * Lets a machine at the packages, and notes it. Seat and note are one transaction, so that two machines never share the last seat; one that has
 * a seat keeps it. Throws `key-unknown`, `key-revoked`, `key-expired`, `key-no-seats`, `host-unnamed`.
 */
export async function admitPackageHost(
  db: Database,
  { activationKey, label }: PackageVisitor,
  clock: Clock,
  /** Milliseconds after which an enrolled host's seat is free. */
  seatMs: number,
): Promise<void> {
  const at = clock.now();
  const now = at.toISOString();
  const key = await validKey(db, activationKey, now);
  if (label === undefined) {
    if (key.seats === null) return;
    throw new ServerError('host-unnamed', `the activation key "${key.name}" has seats, and the machine has no name`, {
      hint: 'the user must be kmend-<name of the machine>: run the operator’s setup again, on the machine itself',
      details: { id: key.id, name: key.name },
    });
  }
  const seen = (await lastSeen(db, key.id, label)) ?? '';
  if (seen > new Date(at.getTime() - NOTE_MS).toISOString()) return;
  await db.transaction().execute(async (transaction) => {
    const before = await lastSeen(transaction, key.id, label);
    if (before === undefined || before < seatsSince(at)) await requireSeat(transaction, key, now, seatMs);
    await transaction
      .insertInto('package_hosts')
      .values({ key_id: key.id, label, first_seen: now, last_seen: now })
      .onConflict((conflict) => conflict.columns(['key_id', 'label']).doUpdateSet({ last_seen: now }))
      .execute();
  });
}

async function lastSeen(db: Database, keyId: string, label: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('package_hosts')
    .select('last_seen')
    .where('key_id', '=', keyId)
    .where('label', '=', label)
    .executeTakeFirst();
  return row?.last_seen;
}

/** The machines that hold a seat, by key. */
export async function packageSeats(db: Database, clock: Clock): Promise<PackageSeats> {
  const keys = await db
    .selectFrom('package_hosts')
    .select((expression) => [
      'key_id as keyId',
      expression.fn.countAll<number>().as('hosts'),
      expression.fn.max('last_seen').as('lastSeen'),
    ])
    .where('last_seen', '>=', seatsSince(clock.now()))
    .groupBy('key_id')
    .orderBy('key_id')
    .execute();
  return { keys };
}
