import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { connect } from 'node:net';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { startServer } from './server.ts';
import { withCode } from './testing/ask.ts';
import { publish, testServer } from './testing/world.ts';

test('makes keys, repository, store and token at the first start, and finds them at the next', async (t) => {
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

test('refuses to start without a repository unless initialize is given, and creates nothing', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('other'), host: '127.0.0.1', port: 0 };
  await assert.rejects(startServer(options), withCode('repository-missing'));
  await assert.rejects(stat(world.path('other', 'repository')));
});

test('refuses a data directory that another server uses', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('data'), host: '127.0.0.1', port: 0 };
  await assert.rejects(startServer(options), withCode('data-dir-busy'));
  await world.server.close();
  const second = await startServer({ ...options, logLevel: 'silent' });
  await second.close();
});

test('allows plain HTTP only on loopback or behind a named proxy', async (t) => {
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

/** Writes a certificate for localhost that holds for so many days. */
async function certify({ cert, key }: { cert: string; key: string }, days: number): Promise<void> {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const made = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', key, '-out', cert, '-days', String(days)];
  await runOk(run, 'openssl', [...made, ...subject]);
}

test('speaks TLS with certificate and key, and loads new ones without a restart', async (t) => {
  const world = await testServer(t);
  const tls = { cert: world.path('cert.pem'), key: world.path('key.pem') };
  await certify(tls, 2);
  const again = await world.restart({ host: 'localhost', tls });
  assert.match(again.server.url, /^https:\/\/localhost:/);
  const ask = async (path: string, headers = {}) => {
    const ca = await readFile(tls.cert);
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; text: string }>();
    const request = get(`${again.server.url}${path}`, { ca, headers, agent: false }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode, text });
    });
    request.on('error', reject);
    return promise;
  };
  const days = async (): Promise<number> => {
    const { text } = await ask('/metrics', { authorization: `Bearer ${again.token}` });
    return Number(/kmend_tls_certificate_expires_seconds ([\d.]+)/.exec(text)?.[1]) / 86_400;
  };
  assert.equal((await ask('/healthz')).status, 200);
  assert.ok((await days()) < 2.1);
  await assert.rejects(again.api.listKeys(), withCode('server-unreachable'), 'an untrusted certificate');

  await certify(tls, 30);
  await assert.rejects(ask('/healthz'), 'the one before is in force still');
  await again.server.reload();
  assert.ok((await days()) > 29);
  // One that cannot be used takes nothing away.
  await writeFile(tls.key, 'not a key');
  await again.server.reload();
  assert.equal((await ask('/healthz')).status, 200);
  assert.match(again.log(), /the previous one stays in use/);
});

test('accepts an IPv6 address as written in a URL', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('other'), initialize: { offlineKeys: world.path('k') }, port: 0 };
  for (const host of ['[::1]', '::1', '0:0:0:0:0:0:0:1']) {
    const server = await startServer({ ...options, host, logLevel: 'silent' });
    assert.match(server.url, /^http:\/\/\[[0:]*:?1\]:\d+$/);
    assert.equal((await fetch(`${server.url}/metrics`)).status, 200, 'it is this machine');
    await server.close();
  }
  await assert.rejects(startServer({ ...options, host: '[::]' }), withCode('tls-required'));
});

test('keeps the mode of an existing data directory, and protects its files', async (t) => {
  const world = await testServer(t);
  const dataDir = world.path('mine');
  await mkdir(dataDir);
  await chmod(dataDir, 0o755);
  const options = { dataDir, initialize: { offlineKeys: world.path('k') }, host: '127.0.0.1', port: 0 };
  await (await startServer({ ...options, logLevel: 'silent' })).close();
  assert.equal((await stat(dataDir)).mode & 0o777, 0o755);
  for (const name of ['keys', 'keys/policy.key', 'operator-token', 'store.sqlite', 'uploads', 'packages']) {
    assert.equal((await stat(world.path('mine', name))).mode & 0o077, 0, name);
  }
});

test('tells open connections when to return while the server stops', async (t) => {
  const world = await testServer(t);
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(Number(new URL(world.server.url).port), '127.0.0.1');
  t.after(async () => void socket.destroy());
  let said = '';
  socket.on('data', (bytes) => (said += bytes.toString())).on('close', () => resolve(said));
  socket.write('POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{');
  await new Promise((go) => setTimeout(go, 100));
  const closed = world.server.close();
  await new Promise((go) => setTimeout(go, 100));
  socket.write('}GET /repository/metadata/timestamp.json HTTP/1.1\r\nhost: x\r\n\r\n');
  await closed;
  assert.match(await promise, /HTTP\/1.1 400 .*HTTP\/1.1 503 .*retry-after: 10.*"server-stopping"/s);
});

test('names a port that is in use, and releases the data directory', async (t) => {
  const world = await testServer(t);
  const port = Number(new URL(world.server.url).port);
  const options = { dataDir: world.path('other'), initialize: { offlineKeys: world.path('k') }, host: '127.0.0.1' };
  await assert.rejects(startServer({ ...options, port, logLevel: 'silent' }), withCode('address-unusable'));
  await (await startServer({ ...options, port: 0, logLevel: 'silent' })).close();
});

test('reports a damaged store', async (t) => {
  const world = await testServer(t);
  await world.server.close();
  await writeFile(world.path('data', 'store.sqlite'), 'this is not a database, and long enough to be looked at');
  await assert.rejects(world.restart(), withCode('store-damaged'));
});

test('restores the list of livepatches from the repository after a crash between the two', async (t) => {
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

test('does not start with a missing or empty store unless --new-store is given', async (t) => {
  const world = await testServer(t);
  await world.server.close();
  const store = world.path('data', 'store.sqlite');
  for (const lose of [() => rm(store), () => writeFile(store, '')]) {
    await lose();
    await rm(`${store}-wal`, { force: true });
    await assert.rejects(world.restart(), withCode('store-missing'));
  }
  const again = await world.restart({ newStore: true });
  assert.deepEqual(await again.api.listKeys(), []);
  await (await again.restart({})).server.close();
});

test('detects a missing store from the repository alone', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  await world.server.close();
  for (const name of ['store.sqlite', 'operator-token']) await rm(world.path('data', name));
  await assert.rejects(world.restart(), withCode('store-missing'));
});

test('reports a lock error that is not another server', async (t) => {
  const world = await testServer(t);
  await world.server.close();
  await writeFile(world.path('data', 'lock'), 'this is not a database, and long enough to be looked at');
  await assert.rejects(world.restart(), withCode('data-dir-unusable'));
});
