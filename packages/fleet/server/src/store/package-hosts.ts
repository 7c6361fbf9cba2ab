import type { Clock } from '@kmend/base';
import type { PackageSeats } from '@kmend/protocol/packages';
import { assertNamed, isNoteDue, needsSeat, packageSeatsSince } from '../fleet/seats.ts';
import { takeSeat, validKey } from './keys.ts';
import { type Count, numberOf } from './portable.ts';
import type { Database } from './store.ts';

export interface PackageVisitor {
  readonly activationKey: string;
  /** What the machine calls itself; `undefined`: it does not say. */
  readonly label: string | undefined;
}

/**
 * Lets a machine at the packages, and notes it. Seat and note are one transaction, so that two machines never share the
 * last seat; one that has a seat keeps it. Throws `key-unknown`, `key-revoked`, `key-expired`, `key-no-seats`,
 * `host-unnamed`.
 */
export async function admitPackageHost(
  db: Database,
  { activationKey, label }: PackageVisitor,
  clock: Clock,
  /** Milliseconds after which an enrolled host's seat is free. */
  seatMs: number,
): Promise<void> {
  const now = clock.now();
  const key = await validKey(db, activationKey, now);
  if (label === undefined && key.seats === null) return;
  assertNamed(key, label);
  if (!isNoteDue(await lastSeen(db, key.id, label), now)) return;
  const seen = now.toISOString();
  await db.transaction().execute(async (transaction) => {
    if (needsSeat(await lastSeen(transaction, key.id, label), now)) await takeSeat(transaction, key, now, seatMs);
    await transaction
      .insertInto('package_hosts')
      .values({ key_id: key.id, label, first_seen: seen, last_seen: seen })
      .onConflict((conflict) => conflict.columns(['key_id', 'label']).doUpdateSet({ last_seen: seen }))
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
      expression.fn.countAll<Count>().as('hosts'),
      expression.fn.max('last_seen').as('lastSeen'),
    ])
    .where('last_seen', '>=', packageSeatsSince(clock.now()))
    .groupBy('key_id')
    .orderBy('key_id')
    .execute();
  return { keys: keys.map((key) => ({ ...key, hosts: numberOf(key.hosts) })) };
}
