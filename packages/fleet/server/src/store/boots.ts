import type { HostMachine, Report } from '@kmend/protocol';
import { sql } from 'kysely';
import { type Count, numberOf } from './portable.ts';
import type { Database } from './store.ts';

/** Boots remembered of each host. */
const KEPT_BOOTS = 32;

/** What a host's row said before a report. */
export interface BootBefore {
  readonly boot_id: string | null;
  readonly machine: string | null;
  readonly hostname: string;
  readonly release: string;
  readonly effective_serial: number | null;
  readonly last_report: string | null;
  readonly enrolled: string;
}

/**
 * Notes that another boot reports as a host. A reboot is one too: the boot before never comes back. Where it does (A,
 * B, A), two machines are up at once under one identity: clones of an image, or a thief of the token.
 */
export async function noteBoot(db: Database, hostId: string, before: BootBefore, { facts }: Report): Promise<void> {
  if (before.boot_id === null || before.boot_id === facts.bootId) return;
  const known = await db
    .selectFrom('host_boots')
    .select('boot_id')
    .where('host_id', '=', hostId)
    .where('boot_id', '=', facts.bootId)
    .executeTakeFirst();
  const last = {
    machine: before.machine,
    hostname: before.hostname,
    release: before.release,
    serial: before.effective_serial,
    last_seen: before.last_report ?? before.enrolled,
  };
  await db
    .insertInto('host_boots')
    .values({ host_id: hostId, boot_id: before.boot_id, returned: 0, ...last })
    .onConflict((conflict) => conflict.columns(['host_id', 'boot_id']).doUpdateSet(last))
    .execute();
  if (known !== undefined) {
    await db
      .updateTable('host_boots')
      .set({ returned: 1 })
      .where('host_id', '=', hostId)
      .where('boot_id', 'in', [before.boot_id, facts.bootId])
      .execute();
  }
  await db
    .deleteFrom('host_boots')
    .where('host_id', '=', hostId)
    .where('boot_id', 'not in', (boots) =>
      boots
        .selectFrom('host_boots')
        .select('boot_id')
        .where('host_id', '=', hostId)
        .orderBy('last_seen', 'desc')
        .limit(KEPT_BOOTS),
    )
    .execute();
}

/**
 * Boots seen since then that are other machines than their host's newest: another machine-id, or up in turns with it.
 */
function others(db: Database, since: string) {
  return db
    .selectFrom('host_boots')
    .innerJoin('hosts', 'hosts.id', 'host_boots.host_id')
    .where('last_seen', '>=', since)
    .whereRef('host_boots.boot_id', '!=', 'hosts.boot_id')
    .where((where) =>
      where.or([
        where('returned', '=', 1),
        // Null on either side: an agent that does not tell, which proves nothing.
        where('host_boots.machine', '!=', where.ref('hosts.machine')),
      ]),
    );
}

/** The other machines that report under the identity of each of these hosts; hosts without any are absent. */
export async function otherMachines(
  db: Database,
  hostIds: readonly string[],
  since: string,
): Promise<ReadonlyMap<string, readonly HostMachine[]>> {
  const found = new Map<string, HostMachine[]>();
  if (hostIds.length === 0) return found;
  const rows = await others(db, since)
    .select([
      'host_boots.host_id',
      'host_boots.boot_id',
      'host_boots.machine',
      'host_boots.hostname',
      'host_boots.release',
      'serial',
      'last_seen',
    ])
    .where('host_boots.host_id', 'in', hostIds)
    .orderBy('last_seen', 'desc')
    .execute();
  for (const row of rows) {
    const machine = {
      machineId: row.machine,
      bootId: row.boot_id,
      hostname: row.hostname,
      release: row.release,
      effectiveSerial: row.serial,
      lastReport: row.last_seen,
    };
    found.set(row.host_id, [...(found.get(row.host_id) ?? []), machine]);
  }
  return found;
}

/** How many hosts' identities several machines use. */
export async function countShared(db: Database, since: string): Promise<number> {
  const { shared } = await others(db, since)
    .select(sql<Count>`count(distinct host_boots.host_id)`.as('shared'))
    .executeTakeFirstOrThrow();
  return numberOf(shared);
}
