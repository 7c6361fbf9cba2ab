import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import type { Report } from '@kmend/protocol';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { reportDigest } from '../fleet/ingest.ts';
import { exampleFacts, exampleReport, exampleStack, exampleTrouble } from '../testing/world.ts';
import { listHosts, showHost } from './hosts.ts';
import { migrationProvider } from './migrations.ts';
import { packageSeats } from './package-hosts.ts';
import { storeReports } from './reports.ts';
import { openSqlite } from './sqlite.ts';
import { initialStatus } from './status.ts';
import { openStore } from './store.ts';

const HOST = '00000000-0000-4000-8000-00000000000a';

/** A store as the first released version left it, with one host. */
async function firstVersion(path: string): Promise<void> {
  const db = new Kysely<Record<string, Record<string, unknown>>>({ dialect: openSqlite(path) });
  const { error } = await new Migrator({ db, provider: migrationProvider }).migrateTo('001-first');
  assert.equal(error, undefined);
  const at = '2026-11-01T00:00:00Z';
  const facts = exampleFacts();
  await db
    .insertInto('activation_keys')
    .values({ id: 'k', name: 'k', hash: 'h', channel: 'stable', revoked: 0, created: at })
    .execute();
  await db
    .insertInto('hosts')
    .values({
      id: HOST,
      key_id: 'k',
      token_hash: 't',
      hostname: facts.hostname,
      release: facts.kernel.release,
      build_id: facts.kernel.buildId,
      channel: 'stable',
      enrolled: at,
      sequence: 0,
      facts: JSON.stringify(facts),
      status: JSON.stringify(initialStatus()),
      livepatches: '[]',
      contact: 'unknown',
      coverage: 'unknown',
      loaded: 'unknown',
      transition: 'unknown',
      verified: 'unknown',
    })
    .execute();
  await db.destroy();
}

test('keeps the hosts of a store of the first version, and stores what newer agents report', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-store-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'store.sqlite');
  await firstVersion(path);
  const db = await openStore(path);
  t.after(() => db.destroy());
  assert.deepEqual([(await showHost(db, HOST)).hostname, (await showHost(db, HOST)).trouble], ['web-1', null]);
  assert.equal((await showHost(db, HOST)).stack, null);
  const report = exampleReport(1, { trouble: exampleTrouble, stack: exampleStack });
  await storeReports(db, [{ hostId: HOST, report, at: report.at }]);
  assert.deepEqual((await showHost(db, HOST)).trouble, exampleTrouble);
  assert.deepEqual((await showHost(db, HOST)).stack, exampleStack);
  const changed = exampleReport(2, { trouble: exampleTrouble, stack: { ...exampleStack, depth: 10 } });
  assert.notEqual(reportDigest(changed), reportDigest(report), 'a deeper stack is news');
  assert.deepEqual(await packageSeats(db, systemClock), { keys: [] });
});

test('judges reports that arrive at once by what the one before them left', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-store-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'store.sqlite');
  await firstVersion(path);
  const db = await openStore(path);
  t.after(() => db.destroy());
  const kindsOf = async (...reports: Report[]): Promise<string[]> =>
    (
      await storeReports(
        db,
        reports.map((report) => ({ hostId: HOST, report, at: report.at })),
      )
    ).map(({ kind }) => kind);
  const [first, newer] = [exampleReport(1), exampleReport(5, { effectiveSerial: 9 })];
  // Carried here by a person while the host sends a newer one; then the same file once more.
  assert.deepEqual(await kindsOf(newer, first, newer), ['news', 'known', 'known']);
  assert.equal((await showHost(db, HOST)).effectiveSerial, 9);
  const other = exampleReport(5, { effectiveSerial: 2, at: '2026-11-03T00:00:00Z' });
  assert.deepEqual(await kindsOf(other, exampleReport(200_000, { effectiveSerial: 2 })), [
    'number-used',
    'number-jumps',
  ]);
  assert.deepEqual(await kindsOf({ ...newer, sequence: 6 }), ['same']);
  assert.deepEqual(await kindsOf({ ...first, sequence: 5 }), ['known']);
  const again = await storeReports(db, [{ hostId: 'x', report: first, at: first.at }]);
  assert.deepEqual(again, [{ kind: 'known', newest: 1 }]);
});

test('searches for a part of the name literally', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-store-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'store.sqlite');
  await firstVersion(path);
  const db = await openStore(path);
  t.after(() => db.destroy());
  const found = async (search: string): Promise<number> => (await listHosts(db, { limit: 10, search }, '')).total;
  assert.deepEqual(
    [await found('eb-'), await found('web-1'), await found('WEB'), await found('w%1'), await found('_')],
    [1, 1, 0, 0, 0],
  );
});
