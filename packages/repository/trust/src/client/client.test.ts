import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, readlink, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { exampleModule } from '../testing/module.ts';
import { startWeb } from '../testing/web.ts';
import { BUILD_ID, makeWorld, OTHER_BUILD_ID } from '../testing/world.ts';
import { openRepositoryClient } from './client.ts';
import { KEPT_LIVEPATCHES } from './livepatch.ts';

const { signal } = new AbortController();

async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const cache = world.path('cache');
  const open = (directory = cache) => openRepositoryClient({ directory, root: world.created.root, url: `${web.url}/` });
  return { world, web, cache, open };
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

async function current(cache: string): Promise<string> {
  return join(cache, await readlink(join(cache, 'current')));
}

test('fetches everything in the first check, and makes a single conditional request in the next', async (t) => {
  const { web, open, cache } = await setUp(t);
  const client = await open();
  const first = await client.check(signal);
  assert.deepEqual([first.changed, first.version], [true, 1]);
  web.log = [];
  const generation = await current(cache);
  assert.equal((await client.check(signal)).changed, false);
  assert.equal((await (await open()).check(signal)).changed, false);
  assert.deepEqual(web.log, ['304 /metadata/timestamp.json', '304 /metadata/timestamp.json']);
  assert.equal(await current(cache), generation, 'an idle check must write nothing');
  assert.equal((await client.fleetPolicy(signal))?.checkIntervalSeconds, 300);
  assert.equal(await client.kernelPolicy(BUILD_ID, signal), undefined);
});

test('moves less than 1 KB in an idle check, both ways together', async (t) => {
  const { web, open } = await setUp(t);
  const client = await open();
  await client.check(signal);
  web.traffic();
  await client.check(signal);
  const bytes = web.traffic();
  assert.ok(bytes < 1000, `${bytes} bytes`);
  t.diagnostic(`idle check: ${bytes} bytes`);
});

test('finds and verifies a published livepatch, and verifies it again without any network', async (t) => {
  const { world, web, open } = await setUp(t);
  const client = await open();
  await client.check(signal);
  await world.publish(1);
  const outcome = await client.check(signal);
  assert.equal(outcome.changed, true);
  const policy = await client.kernelPolicy(BUILD_ID, signal);
  assert.equal(policy?.channels.stable?.settled, 1);
  assert.equal(await client.kernelPolicy(OTHER_BUILD_ID, signal), undefined);
  const fetched = await client.fetchLivepatch(BUILD_ID, 1, signal);
  assert.deepEqual(await readFile(fetched.modulePath), exampleModule('livepatch 1').module);
  assert.equal(fetched.target.serial, 1);
  web.log = [];
  await client.fetchLivepatch(BUILD_ID, 1, signal);
  assert.deepEqual(web.log, [], 'a cached livepatch is not downloaded again');
  await web.close();
  assert.deepEqual(await (await open()).verifyCached(BUILD_ID, 1), fetched);
  await assert.rejects(client.verifyCached(BUILD_ID, 2), withCode('not-found'));
});

test('keeps the livepatches used last in the cache, within its size limit', async (t) => {
  const { world, open, cache } = await setUp(t);
  for (let n = 1; n <= KEPT_LIVEPATCHES + 2; n++) await world.publish(n);
  const client = await open();
  await client.check(signal);
  const fetchAll = async (serials: number[]) => {
    for (const serial of serials) {
      await client.fetchLivepatch(BUILD_ID, serial, signal);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await fetchAll(Array.from({ length: KEPT_LIVEPATCHES }, (_, n) => n + 1));
  await fetchAll([1, KEPT_LIVEPATCHES + 1, KEPT_LIVEPATCHES + 2]);
  const kept = await readdir(join(cache, 'targets', 'kernels', BUILD_ID));
  assert.equal(kept.length, KEPT_LIVEPATCHES);
  await client.verifyCached(BUILD_ID, 1);
  await assert.rejects(client.verifyCached(BUILD_ID, 2), withCode('not-cached'));
});

test('answers policies from memory while nothing changes', async (t) => {
  const { world, web, open } = await setUp(t);
  await world.publish(1);
  const client = await open();
  await client.check(signal);
  await client.kernelPolicy(BUILD_ID, signal);
  web.log = [];
  await client.kernelPolicy(BUILD_ID, signal);
  assert.deepEqual(web.log, []);
  await world.repository.setKernelPolicy(BUILD_ID, (before) => ({
    ...before,
    withdrawn: [{ serial: 1, reason: 'it is bad' }],
  }));
  await client.check(signal);
  assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.withdrawn.length, 1);
});

test('refuses a damaged module, manifest or role, and a missing file in verifyCached', async (t) => {
  const { world, open, cache } = await setUp(t);
  await world.publish(1);
  const client = await open();
  await client.check(signal);
  const { modulePath } = await client.fetchLivepatch(BUILD_ID, 1, signal);
  const role = join(await current(cache), `kernel-${BUILD_ID}.json`);
  for (const path of [modulePath, join(modulePath, '..', 'livepatch.json'), role]) {
    const good = await readFile(path);
    const bad = Buffer.from(good);
    const at = path === role ? bad.indexOf('"length":') + 9 : 5;
    bad[at] = (bad[at] ?? 0) ^ 1;
    await writeFile(path, bad);
    await assert.rejects(
      client.verifyCached(BUILD_ID, 1),
      withCode(path === role ? 'repository-unsigned' : 'cache-mismatch'),
    );
    await writeFile(path, good);
    await client.verifyCached(BUILD_ID, 1);
  }
  await rm(modulePath);
  await assert.rejects(client.verifyCached(BUILD_ID, 1), withCode('not-cached'));
  await client.fetchLivepatch(BUILD_ID, 1, signal);
  await client.verifyCached(BUILD_ID, 1);
});

test('replaces torn cache files, as after a power cut', async (t) => {
  const { world, open, cache } = await setUp(t);
  await world.publish(1);
  await (await open()).check(signal);
  for (const file of ['root.json', 'timestamp.json', 'snapshot.json', 'targets.json', 'check.json']) {
    await truncate(join(await current(cache), file), 20);
    const client = await open();
    await client.check(signal);
    assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 1, file);
  }
});

test('removes what a crashed run left behind', async (t) => {
  const { open, cache } = await setUp(t);
  await (await open()).check(signal);
  await mkdir(join(cache, 'metadata', 'w-crashed'));
  await mkdir(join(cache, 'metadata', 'g-crashed'));
  await rm(await current(cache), { recursive: true });
  await (await open()).check(signal);
  assert.equal((await readdir(join(cache, 'metadata'))).length, 1);
});

test('lets two clients of one directory take turns', async (t) => {
  const { world, open } = await setUp(t);
  const [one, two] = [await open(), await open()];
  await Promise.all([one.check(signal), two.check(signal)]);
  await world.publish(1);
  await Promise.all([one.check(signal), two.check(signal)]);
  for (const client of [one, two]) {
    assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 1);
  }
});

test('reports a repository that is down, and an address that is no repository, by code', async (t) => {
  const { web, open, world } = await setUp(t);
  const client = await open();
  await client.check(signal);
  web.tamper = (_request, response) => {
    response.writeHead(503).end('try later');
    return true;
  };
  await assert.rejects(client.check(signal), withCode('repository-unreachable'));
  web.tamper = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>please log in</html>');
    return true;
  };
  await assert.rejects(client.check(signal), withCode('repository-garbage'));
  await assert.rejects((await open(world.path('cache-2'))).check(signal), withCode('repository-garbage'));
  web.tamper = (_request, response) => {
    response.writeHead(404).end();
    return true;
  };
  await assert.rejects((await open(world.path('cache-3'))).check(signal), withCode('not-found'));
  web.tamper = undefined;
  assert.equal((await client.check(signal)).changed, false);
  await web.close();
  await assert.rejects(client.check(signal), withCode('repository-unreachable'));
});

test('refuses an unusable trusted root at once', async (t) => {
  const { world, web, cache } = await setUp(t);
  const options = { directory: cache, url: web.url };
  await assert.rejects(openRepositoryClient({ ...options, root: '/nonexistent' }), withCode('root-unusable'));
  await assert.rejects(openRepositoryClient({ ...options, root: Buffer.from('{}') }), withCode('root-unusable'));
  const root = JSON.parse(await readFile(world.created.root, 'utf8'));
  root.signed.version = 2;
  await assert.rejects(
    openRepositoryClient({ ...options, root: Buffer.from(JSON.stringify(root)) }),
    withCode('root-unusable'),
  );
});

test('rejects an aborted operation with the reason and leaves the cache usable', async (t) => {
  const { open } = await setUp(t);
  const client = await open();
  const reason = new Error('shutting down');
  await assert.rejects(client.check(AbortSignal.abort(reason)), reason);
  await client.check(signal);
});
