import assert from 'node:assert/strict';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { exists } from '@kmend/base/node';
import { packFolder } from '../client/pack-folder.ts';
import { aptHost, signer, writeAptRepository } from '../testing/apt.ts';
import { testServer } from '../testing/world.ts';

const missing = [];
for (const tool of ['apt-get', 'apt-ftparchive', 'dpkg-deb', 'gpg']) {
  if (!(await exists(`/usr/bin/${tool}`))) missing.push(tool);
}

test('lets a real apt update and download with an activation key in auth.conf, and says why not without one', {
  skip: missing.length > 0 && `not here: ${missing.join(', ')}`,
}, async (t) => {
  const world = await testServer(t);
  const key = await signer(t, world.path('gnupg'));
  await writeAptRepository(world.path('one'), '1', key);
  await world.api.publishPackages('apt', await packFolder(world.path('one')));
  const host = await aptHost(world.path('host'), key, `${world.server.packagesUrl}/apt`);

  const unknown = await host.apt('update');
  assert.match(unknown.said, /401 +kmend asks for an activation key \(unauthorized\)/);
  const made = await world.api.createKey({ name: 'k', channel: 'stable', seats: 1, expires: null });
  await host.login('kmend', made.key);
  assert.match((await host.apt('update')).said, /403 +the user must be kmend-NAME-OF-THE-MACHINE \(host-unnamed\)/);
  await host.login('kmend-0123456789abcdef', made.key);
  const first = await host.apt('update');
  assert.deepEqual([first.exitCode, /(Err|Ign):/.test(first.said)], [0, false], first.said);
  const deb = 'livepatch-demo_1_amd64.deb';
  const got = await host.apt('download', 'livepatch-demo');
  assert.equal(got.exitCode, 0, got.said);
  assert.deepEqual(await host.downloaded(deb), await readFile(world.path('one/pool', deb)));

  assert.match((await host.apt('update')).said, /^Hit:1 /m, 'not modified');
  await writeAptRepository(world.path('two'), '2', key);
  await world.api.publishPackages('apt', await packFolder(world.path('two')));
  // It still goes by the index that it has.
  const archive = world.path('host/var/cache/apt/archives', deb);
  const [partial, whole] = [
    world.path('host/var/cache/apt/archives/partial', deb),
    await readFile(world.path('one/pool', deb)),
  ];
  await writeFile(partial, whole);
  await truncate(partial, 100);
  const old = await host.apt('install', '--yes', '--download-only', 'livepatch-demo');
  assert.equal(old.exitCode, 0, old.said);
  assert.deepEqual(await readFile(archive), whole, 'resumed, from the previous repository');
  assert.equal((await host.apt('update')).exitCode, 0);
  assert.match((await host.apt('install', '--simulate', 'livepatch-demo')).said, /Inst livepatch-demo \(2 kmend/);

  assert.deepEqual(
    (await world.api.packageSeats()).map(({ hosts }) => hosts),
    [1],
  );
  await host.login('kmend-another', made.key);
  assert.match((await host.apt('update')).said, /403 +all seats of the activation key are taken \(key-no-seats\)/);
  await world.api.revokeKey(made.id);
  const revoked = await host.apt('update');
  assert.match(revoked.said, /403 +the activation key was revoked \(key-revoked\)/);
});
