import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { startServer } from './server.ts';
import { withCode } from './testing/ask.ts';
import { publish, testServer } from './testing/world.ts';

test('the first start makes keys, repository, store and token, and says where the keys lie; the next start finds them', async (t) => {
  const world = await testServer(t);
  assert.equal(world.server.created?.keys.length, 5);
  assert.equal((await stat(world.server.tokenPath)).mode & 0o777, 0o600);
  assert.equal((await stat(world.path('data'))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(world.path('data', 'keys')), [
    'policy.key',
    'root.json',
    'snapshot.key',
    'timestamp.key',
  ]);
  const again = await world.restart();
  assert.equal(again.server.created, undefined);
  assert.equal(again.token, world.token);
});

test('without initialize a missing repository is an error, and nothing is made', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('other'), host: '127.0.0.1', port: 0 };
  await assert.rejects(startServer(options), withCode('repository-missing'));
  await assert.rejects(stat(world.path('other', 'repository')));
});

test('two servers never share a data directory', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('data'), host: '127.0.0.1', port: 0 };
  await assert.rejects(startServer(options), withCode('data-dir-busy'));
  await world.server.close();
  const second = await startServer({ ...options, logLevel: 'silent' });
  await second.close();
});

test('plain HTTP is for loopback, or behind a proxy that was named', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('other'), initialize: { offlineKeys: world.path('k') }, port: 0 };
  await assert.rejects(startServer({ ...options, host: '0.0.0.0' }), withCode('tls-required'));
  await assert.rejects(stat(world.path('other')), 'nothing was made');
  const tls = { cert: world.path('cert.pem'), key: world.path('key.pem') };
  await assert.rejects(startServer({ ...options, host: '0.0.0.0', tls }), withCode('tls-unusable'));
  await writeFile(tls.cert, 'not a certificate');
  await writeFile(tls.key, 'not a key');
  await assert.rejects(startServer({ ...options, host: '0.0.0.0', tls }), withCode('tls-unusable'));
  const proxied = await startServer({ ...options, host: '0.0.0.0', behindProxy: true, logLevel: 'silent' });
  await proxied.close();
});

test('with certificate and key the server speaks TLS', async (t) => {
  const world = await testServer(t);
  const tls = { cert: world.path('cert.pem'), key: world.path('key.pem') };
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const made = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', tls.key, '-out', tls.cert, '-days', '2'];
  await runOk(run, 'openssl', [...made, ...subject]);
  const again = await world.restart({ host: 'localhost', tls });
  assert.match(again.server.url, /^https:\/\/localhost:/);
  const ca = await readFile(tls.cert);
  const status = await new Promise((resolve, reject) => {
    get(`${again.server.url}/healthz`, { ca }, (response) => resolve(response.statusCode)).on('error', reject);
  });
  assert.equal(status, 200);
  await assert.rejects(again.api.listKeys(), withCode('server-unreachable'), 'a certificate nobody vouches for');
});

test('a port that is taken is named, and the data directory is free again', async (t) => {
  const world = await testServer(t);
  const port = Number(new URL(world.server.url).port);
  const options = { dataDir: world.path('other'), initialize: { offlineKeys: world.path('k') }, host: '127.0.0.1' };
  await assert.rejects(startServer({ ...options, port, logLevel: 'silent' }), withCode('address-unusable'));
  await (await startServer({ ...options, port: 0, logLevel: 'silent' })).close();
});

test('a damaged store is named', async (t) => {
  const world = await testServer(t);
  await world.server.close();
  await writeFile(world.path('data', 'store.sqlite'), 'this is not a database, and long enough to be looked at');
  await assert.rejects(world.restart(), withCode('store-damaged'));
});

test('the list of livepatches follows the repository after a crash between the two', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  await world.server.close();
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(world.path('data', 'store.sqlite'));
  database.exec('DELETE FROM livepatches');
  database.close();
  const again = await world.restart();
  const listed = await again.api.listLivepatches();
  assert.deepEqual(
    listed.map(({ serial, proven }) => [serial, proven]),
    [[1, false]],
  );
});
