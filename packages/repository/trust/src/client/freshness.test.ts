import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { loadOnlineKeys, loadRootKey } from '../keys/store.ts';
import { openRepository } from '../repository/repository.ts';
import { openForge, readSigned, signRoot } from '../testing/forge.ts';
import { startWeb } from '../testing/web.ts';
import { makeWorld, shiftedClock } from '../testing/world.ts';
import { cacheFetch } from './cache-fetch.ts';
import { openRepositoryClient } from './client.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const { signal } = new AbortController();

async function setUp(t: TestContext, signedAheadMs = 0) {
  const world = await makeWorld(t, shiftedClock(signedAheadMs));
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  let ahead = 0;
  const clock = { ...systemClock, now: () => new Date(Date.now() + ahead) };
  const open = () =>
    openRepositoryClient({ directory: world.path('cache'), root: world.created.root, url: web.url, clock });
  return {
    world,
    web,
    open,
    clock,
    pass: (ms: number) => {
      ahead += ms;
    },
    rootVersion: async (cache = 'cache') =>
      (await readSigned(join(world.path(cache), 'current', 'root.json'))).signed.version,
  };
}

test('limits a timestamp that claims more than a day to a day from when it was first held', async (t) => {
  const { world, open, pass, clock } = await setUp(t, 400 * DAY);
  const first = await (await open()).check(signal);
  assert.ok((first.overlong?.getTime() ?? 0) > Date.now() + 400 * DAY, 'which is said');
  assert.ok(first.expires.getTime() <= Date.now() + DAY);
  assert.ok(first.freshUntil.getTime() <= Date.now() + DAY);
  pass(23 * HOUR);
  assert.equal((await (await open()).check(signal)).changed, false);
  pass(2 * HOUR);
  for (const client of [await open(), await open()]) {
    await assert.rejects(client.check(signal), (error: Error) => {
      assert.equal(errorCode(error), 'repository-expired');
      assert.match(error.message, /timestamp 1 has been served since .*, longer than any may hold, although it says/);
      return true;
    });
  }
  // The server came to the right time.
  const { repository } = world.created;
  const keyDirectory = world.path('online');
  assert.equal(await (await openRepository({ repository, keyDirectory, clock })).refreshOnline(), true);
  const after = await (await open()).check(signal);
  assert.deepEqual([after.changed, after.overlong, after.version], [true, undefined, 2]);
});

test('follows a root that changes alone within a day, although timestamp.json stays the same', async (t) => {
  const { world, web, open, pass, rootVersion } = await setUp(t);
  const client = await open();
  await client.check(signal);
  const forge = await openForge(world.created.repository);
  await signRoot(forge, await loadOnlineKeys(world.path('online')), await loadRootKey(world.path('offline')));
  web.log = [];
  await client.check(signal);
  assert.deepEqual([web.log, await rootVersion()], [['304 /metadata/timestamp.json'], 1], 'one request');
  pass(13 * HOUR);
  assert.equal((await (await open()).check(signal)).changed, false);
  assert.equal(await rootVersion(), 2);
  web.log = [];
  await (await open()).check(signal);
  assert.deepEqual(web.log, ['304 /metadata/timestamp.json'], 'and not asked for again');
});

test('the loader follows such a root at its next check', async (t) => {
  const { world, open, pass, rootVersion } = await setUp(t);
  const openLoader = () =>
    openRepositoryClient({
      directory: world.path('loader'),
      root: world.created.root,
      url: 'cache:///',
      fetch: cacheFetch(world.path('cache')),
      rootIntervalMs: 0,
    });
  await (await open()).check(signal);
  await (await openLoader()).check(signal);
  const forge = await openForge(world.created.repository);
  await signRoot(forge, await loadOnlineKeys(world.path('online')), await loadRootKey(world.path('offline')));
  pass(13 * HOUR);
  await (await open()).check(signal);
  await (await openLoader()).check(signal);
  assert.equal(await rootVersion('loader'), 2);
  const before = await readFile(world.path('loader', 'current', 'timestamp.json'));
  assert.deepEqual(before, await readFile(world.path('cache', 'current', 'timestamp.json')));
});
