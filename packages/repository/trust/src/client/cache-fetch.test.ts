import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  cp,
  link,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { errorCode } from '@kmend/base';
import { kernelRole } from '@kmend/protocol';
import { Metadata, MetadataKind } from '@tufjs/models';
import { loadRootKey } from '../keys/store.ts';
import { signedText } from '../metadata/signing.ts';
import { metadataFile } from '../repository/layout.ts';
import { exampleModule } from '../testing/module.ts';
import { startWeb } from '../testing/web.ts';
import { BUILD_ID, makeWorld, OTHER_BUILD_ID, type World } from '../testing/world.ts';
import { cacheFetch } from './cache-fetch.ts';
import { openRepositoryClient } from './client.ts';
import { foreignDirectory } from './regular-file.ts';
import type { Fetch } from './transfer.ts';

const { signal } = new AbortController();

/**
 * A repository, a first client that reads it over HTTP, and a second one that reads nothing but the first one's cache.
 */
async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const cache = world.path('first');
  const { root } = world.created;
  const first = await openRepositoryClient({ directory: cache, root, url: web.url });
  const openSecond = (fetch: Fetch = cacheFetch(cache)) =>
    openRepositoryClient({ directory: world.path('second'), root, url: 'cache:///', fetch });
  return { world, web, cache, first, openSecond, second: await openSecond() };
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

async function generation(cache: string): Promise<string> {
  return join(cache, await readlink(join(cache, 'current')));
}

/** The next version of root, with the same keys. */
async function nextRoot(world: World, version: number): Promise<void> {
  const json = JSON.parse(await readFile(world.created.root, 'utf8'));
  json.signed.version = version;
  const text = signedText(Metadata.fromJSON(MetadataKind.Root, json), await loadRootKey(world.path('offline')));
  await writeFile(join(world.created.repository, metadataFile('root', version)), text);
}

test('verifies with a second client all that the first one downloaded, and nothing else', async (t) => {
  const { world, web, first, second, openSecond } = await setUp(t);
  await world.publish(1);
  await first.check(signal);
  await first.fleetPolicy(signal);
  await first.kernelPolicy(BUILD_ID, signal);
  await first.fetchLivepatch(BUILD_ID, 1, signal);
  await web.close();
  assert.equal((await second.check(signal)).changed, true);
  assert.equal((await second.check(signal)).changed, false);
  assert.equal((await second.fleetPolicy(signal))?.checkIntervalSeconds, 300);
  assert.equal((await second.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 1);
  assert.equal(await second.kernelPolicy(OTHER_BUILD_ID, signal), undefined);
  const fetched = await second.fetchLivepatch(BUILD_ID, 1, signal);
  assert.deepEqual(await readFile(fetched.modulePath), exampleModule('livepatch 1').module);
  assert.ok(fetched.modulePath.startsWith(world.path('second')));
  await rm(world.path('first'), { recursive: true });
  assert.deepEqual(await (await openSecond()).verifyCached(BUILD_ID, 1), fetched);
});

test('does not find what the first client has not fetched yet', async (t) => {
  const { world, first, second } = await setUp(t);
  await assert.rejects(second.check(signal), withCode('not-found'));
  await world.publish(1);
  await first.check(signal);
  await second.check(signal);
  await assert.rejects(second.kernelPolicy(BUILD_ID, signal), withCode('not-found'));
  await first.kernelPolicy(BUILD_ID, signal);
  assert.equal((await second.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 1);
  await assert.rejects(second.fetchLivepatch(BUILD_ID, 1, signal), withCode('not-found'));
  await first.fetchLivepatch(BUILD_ID, 1, signal);
  await second.fetchLivepatch(BUILD_ID, 1, signal);
});

test('follows several updates and new roots', async (t) => {
  const { world, first, second, openSecond } = await setUp(t);
  await first.check(signal);
  await second.check(signal);
  for (let n = 1; n <= 4; n++) {
    await world.publish(n);
    await nextRoot(world, n + 1);
    await first.check(signal);
    // Every other update passes the second client by.
    if (n % 2 === 1) continue;
    await first.fetchLivepatch(BUILD_ID, n, signal);
    await first.kernelPolicy(BUILD_ID, signal);
    const client = n === 2 ? second : await openSecond();
    assert.equal((await client.check(signal)).changed, true);
    assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, n);
    assert.equal((await client.fetchLivepatch(BUILD_ID, n, signal)).target.serial, n);
    assert.equal((await client.verifyCached(BUILD_ID, n)).target.serial, n);
  }
  const roots = (await readdir(await generation(world.path('second')))).filter((name) => name.endsWith('.root.json'));
  assert.deepEqual(roots.sort(), ['2.root.json', '3.root.json', '4.root.json', '5.root.json']);
});

test('tolerates that the first client changes its cache during a check', async (t) => {
  const { world, first, cache, openSecond } = await setUp(t);
  await world.publish(1);
  await first.check(signal);
  const inner = cacheFetch(cache);
  let moves = 1;
  let next = 2;
  const second = await openSecond(async (url, init) => {
    const response = await inner(url, init);
    if (!url.endsWith('timestamp.json')) return response;
    const held = new Response(await response.arrayBuffer());
    for (; moves > 0; moves--) {
      await world.publish(next++);
      await first.check(signal);
    }
    return held;
  });
  const { version } = await second.check(signal);
  assert.equal(version, 2, 'one generation later the one begun with is still there');
  assert.equal((await second.check(signal)).version, 3);
  moves = 2;
  await world.publish(next++);
  await first.check(signal);
  // Nothing was forged: it is just gone, and the next check finds everything.
  await assert.rejects(second.check(signal), withCode('not-found'));
  assert.equal((await second.check(signal)).version, 6);
});

test('reports a rollback of the first cache', async (t) => {
  const { world, first, cache, second, openSecond } = await setUp(t);
  await world.publish(1);
  await first.check(signal);
  await cp(cache, world.path('old'), { recursive: true, verbatimSymlinks: true });
  await world.publish(2);
  await first.check(signal);
  await first.kernelPolicy(BUILD_ID, signal);
  await second.check(signal);
  await second.kernelPolicy(BUILD_ID, signal);
  await rm(cache, { recursive: true });
  await rename(world.path('old'), cache);
  await assert.rejects(second.check(signal), withCode('repository-rollback'));
  await assert.rejects((await openSecond()).check(signal), withCode('repository-rollback'));
  assert.equal((await second.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 2);
});

test('never takes over torn and changed files', async (t) => {
  const { world, first, cache, second } = await setUp(t);
  await world.publish(1);
  await first.check(signal);
  const { modulePath } = await first.fetchLivepatch(BUILD_ID, 1, signal);
  const directory = await generation(cache);
  const expected = {
    'timestamp.json': 'repository-garbage',
    'snapshot.json': 'not-found',
    'targets.json': 'not-found',
  };
  for (const [name, code] of Object.entries(expected)) {
    const path = join(directory, name);
    const good = await readFile(path);
    await truncate(path, 40);
    await assert.rejects(second.check(signal), withCode(code), name);
    await writeFile(path, good);
  }
  const timestamp = await readFile(join(directory, 'timestamp.json'), 'utf8');
  await writeFile(join(directory, 'timestamp.json'), timestamp.replace('"version":2', '"version":9'));
  await assert.rejects(second.check(signal), withCode('repository-unsigned'));
  await writeFile(join(directory, 'timestamp.json'), timestamp);
  await second.check(signal);
  const role = join(
    directory,
    '..',
    '..',
    (await readlink(join(cache, 'current'))) ?? '',
    `${kernelRole(BUILD_ID)}.json`,
  );
  const signed = await readFile(role, 'utf8');
  await writeFile(role, signed.replace('"length":2001', '"length":2002'));
  await assert.rejects(second.fetchLivepatch(BUILD_ID, 1, signal), withCode('repository-mismatch'));
  await writeFile(role, signed);
  await writeFile(modulePath, Buffer.alloc(2001, 2));
  await assert.rejects(second.fetchLivepatch(BUILD_ID, 1, signal), withCode('not-found'));
  await writeFile(modulePath, exampleModule('livepatch 1').module);
  await second.fetchLivepatch(BUILD_ID, 1, signal);
});

test('refuses links, pipes, sockets, folders and giants in place of files', async (t) => {
  const { world, first, cache, second } = await setUp(t);
  await world.publish(1);
  await first.check(signal);
  const { modulePath } = await first.fetchLivepatch(BUILD_ID, 1, signal);
  await second.check(signal);
  const timestamp = join(await generation(cache), 'timestamp.json');
  const aside = world.path('aside');
  const attacks: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
    symlink: (path) => symlink(aside, path),
    'link to a device': (path) => symlink('/dev/zero', path),
    'second name': (path) => link(aside, path),
    pipe: (path) => promisify(execFile)('mkfifo', [path]),
    folder: (path) => mkdir(path),
    socket: (path) => {
      const server = createServer().listen(path);
      t.after(() => server.close());
      return new Promise((resolve) => server.once('listening', resolve));
    },
  };
  for (const path of [timestamp, modulePath]) {
    for (const [name, attack] of Object.entries(attacks)) {
      await rename(path, aside);
      await attack(path);
      const work = path === timestamp ? second.check(signal) : second.fetchLivepatch(BUILD_ID, 1, signal);
      await assert.rejects(work, withCode('repository-garbage'), `${name} in place of ${path}`);
      await rm(path, { recursive: true });
      await rename(aside, path);
    }
    const good = await readFile(path);
    await truncate(path, 50_000_000_000);
    const work = path === timestamp ? second.check(signal) : second.fetchLivepatch(BUILD_ID, 1, signal);
    await assert.rejects(work, withCode('repository-too-large'), `giant in place of ${path}`);
    await writeFile(path, good);
  }
  for (const folder of [dirname(modulePath), join(cache, 'targets')]) {
    await rename(folder, aside);
    await symlink(aside, folder);
    await assert.rejects(second.fetchLivepatch(BUILD_ID, 1, signal), withCode('repository-garbage'), folder);
    await rm(folder);
    await rename(aside, folder);
  }
  await second.fetchLivepatch(BUILD_ID, 1, signal);
});

test('rejects a device in place of a file', async () => {
  for (const name of ['null', 'zero']) {
    await assert.rejects(foreignDirectory('/dev').openFile([name]), withCode('repository-garbage'));
  }
});

test('follows the link to the generation in force only inside the cache', async (t) => {
  const { world, first, cache, second } = await setUp(t);
  await world.publish(1);
  await first.check(signal);
  const current = join(cache, 'current');
  const good = await readlink(current);
  await cp(join(cache, good), world.path('elsewhere'), { recursive: true });
  const wrong = [
    world.path('elsewhere'),
    `../${good}`,
    `metadata/../${good}`,
    'metadata',
    `${good}/../g-00`,
    `/${good}`,
  ];
  for (const target of wrong) {
    await rm(current);
    await symlink(target, current);
    await assert.rejects(second.check(signal), withCode('repository-garbage'), target);
  }
  await rm(current);
  await mkdir(current);
  await assert.rejects(second.check(signal), withCode('repository-garbage'));
  await rm(current, { recursive: true });
  await symlink('metadata/g-0123456789ab', current);
  await assert.rejects(second.check(signal), withCode('not-found'), 'a generation that is gone');
  await rm(current);
  await symlink(good, current);
  await rename(join(cache, good), world.path('moved'));
  await symlink(world.path('moved'), join(cache, good));
  await assert.rejects(second.check(signal), withCode('repository-garbage'), 'a generation that is a link');
});

test('refuses addresses that lead out of the directory', async (t) => {
  const { first, cache } = await setUp(t);
  await first.check(signal);
  await writeFile(join(cache, '..', 'secret'), 'secret');
  const fetch = cacheFetch(cache);
  const bad = [
    'cache:///metadata/../../secret',
    'cache:///targets/../../secret',
    'cache:///targets//secret',
    'cache:///targets/a\0b',
    'cache:///targets/.hidden',
    `cache:///targets/${'a/'.repeat(40)}a`,
    `cache:///targets/${'a'.repeat(2000)}`,
    'cache:///',
    'secret',
  ];
  for (const url of bad) {
    await assert.rejects(fetch(url, { headers: {}, signal }), withCode('repository-garbage'), url);
  }
  for (const url of ['cache:///lock', 'cache:///current/timestamp.json', 'cache:///targets', 'cache:///metadata/a/b']) {
    assert.equal((await fetch(url, { headers: {}, signal })).status, 404, url);
  }
});
