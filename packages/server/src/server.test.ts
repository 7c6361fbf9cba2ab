import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { connect } from 'node:net';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { run, runOk, sha256, systemClock } from '@kmend/base/node';
import { loadReleaseKey, loadRootKey, openRepositoryClient } from '@kmend/trust';
import { createApiClient } from './client/api-client.ts';
import { startServer } from './server.ts';
import {
  BUILD_ID,
  exampleFacts,
  exampleReport,
  publish,
  type TestServer,
  testServer,
  writeArtifact,
} from './testing/world.ts';

const { signal } = new AbortController();

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: { readonly error?: { readonly code: string }; readonly [name: string]: unknown };
}

async function ask(
  { server }: TestServer,
  method: string,
  path: string,
  body?: unknown,
  token?: string,
): Promise<Reply> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
}

const enrol = (world: TestServer, activationKey: string, hostname = 'web-1') =>
  ask(world, 'POST', '/v1/enrol', { activationKey, facts: exampleFacts(hostname) });

async function enrolled(world: TestServer): Promise<{ hostId: string; token: string }> {
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const { body } = await enrol(world, key);
  return { hostId: String(body['hostId']), token: String(body['token']) };
}

test('the first start makes keys, repository, store and token, and says where the keys lie; the next start finds them', async (t) => {
  const world = await testServer(t);
  assert.equal(world.server.created?.keys.length, 5);
  assert.equal((await stat(world.server.tokenPath)).mode & 0o777, 0o600);
  assert.equal((await stat(world.path('data'))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(world.path('data', 'keys')), ['policy.key', 'snapshot.key', 'timestamp.key']);
  const again = await world.restart();
  assert.equal(again.server.created, undefined);
  assert.equal(again.token, world.token);
});

test('without initialize a missing repository is an error, and nothing is made', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('other'), host: '127.0.0.1', port: 0 };
  await assert.rejects(startServer(options), withCode('keys-missing'));
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

test('from publishing to a verified livepatch on the client', async (t) => {
  const world = await testServer(t);
  const published = await publish(world, 1);
  assert.deepEqual([published.serial, published.snapshotVersion], [1, 2]);
  const client = await openRepositoryClient({
    directory: world.path('cache'),
    root: world.server.created?.root ?? '',
    url: world.server.repositoryUrl,
  });
  await client.check(signal);
  assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 1);
  assert.equal((await client.fetchLivepatch(BUILD_ID, 1, signal)).target.serial, 1);
  assert.equal((await client.check(signal)).changed, false);
  await publish(world, 2);
  assert.equal((await client.check(signal)).changed, true);
  const listed = await world.api.listLivepatches();
  assert.deepEqual(listed.map((livepatch) => livepatch.serial).sort(), [1, 2]);
  assert.deepEqual(await readdir(world.path('data', 'uploads')), [], 'uploads are gone once published');
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
  assert.equal((await again.api.listLivepatches()).length, 1);
});

test('enrolment: seats, expiry, revocation and unknown keys each have their code', async (t) => {
  const world = await testServer(t);
  const make = (seats: number | null, expires: string | null = null) =>
    world.api.createKey({ name: 'k', channel: 'canary', seats, expires });
  const two = await make(2);
  const first = await enrol(world, two.key);
  assert.equal(first.status, 201);
  assert.equal(first.body['channel'], 'canary');
  const code = async (key: string): Promise<string | undefined> => (await enrol(world, key)).body.error?.code;
  assert.equal(await code(two.key), undefined);
  assert.equal(await code(two.key), 'key-no-seats');
  assert.equal(await code('kmend-00000-00000-00000-00000-00000'), 'key-unknown');
  assert.equal(await code((await make(null, '2026-01-01T00:00:00Z')).key), 'key-expired');
  const revoked = await make(null);
  assert.equal((await world.api.revokeKey(revoked.id)).revoked, true);
  assert.equal(await code(revoked.key), 'key-revoked');
  const keys = await world.api.listKeys();
  assert.equal(keys.find((key) => key.id === two.id)?.used, 2);
  await world.api.removeHost(String(first.body['hostId']));
  assert.equal(await code(two.key), undefined, 'a removed host frees its seat');
});

test('the last seat goes to one host only, however many ask at once', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: 3, expires: null });
  const replies = await Promise.all(Array.from({ length: 10 }, (_, n) => enrol(world, key, `web-${n}`)));
  assert.equal(replies.filter((reply) => reply.status === 201).length, 3);
});

test('reports: the newest counts, older ones change nothing, events are kept', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  const report = (body: unknown) => ask(world, 'POST', '/v1/reports', body, host.token);
  const event = { at: '2026-11-02T00:00:00Z', code: 'load-started', message: 'loading', serial: 5 };
  const answer = await report(exampleReport(5, { effectiveSerial: 5, events: [event] }));
  assert.deepEqual([answer.status, answer.body], [200, { nextReportSeconds: 86_400, channel: 'stable' }]);
  assert.equal((await report(exampleReport(4, { effectiveSerial: 4 }))).status, 200);
  const shown = await world.api.showHost(host.hostId);
  assert.equal(shown.effectiveSerial, 5);
  assert.deepEqual(shown.events, [event]);
  assert.equal(shown.status.loaded.state, 'loaded');
});

test('a report that says nothing new is noted together with others, and still counts', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  await ask(world, 'POST', '/v1/reports', exampleReport(1), host.token);
  const before = await world.api.showHost(host.hostId);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await ask(world, 'POST', '/v1/reports', exampleReport(2), host.token);
  assert.deepEqual((await world.api.showHost(host.hostId)).lastReport, before.lastReport, 'not written at once');
  await ask(world, 'POST', '/v1/reports', exampleReport(1, { effectiveSerial: 9 }), host.token);
  const again = await world.restart();
  const after = await again.api.showHost(host.hostId);
  assert.ok((after.lastReport ?? '') > (before.lastReport ?? ''), 'written on close');
  assert.equal(after.effectiveSerial, 1);
});

test('many reports at once are all kept, the newest of each host', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const hosts = await Promise.all(Array.from({ length: 10 }, (_, n) => enrol(world, key, `web-${n}`)));
  const sent = hosts.flatMap(({ body }) =>
    [3, 1, 2].map((sequence) =>
      ask(world, 'POST', '/v1/reports', exampleReport(sequence, { effectiveSerial: sequence }), String(body['token'])),
    ),
  );
  assert.ok((await Promise.all(sent)).every((reply) => reply.status === 200));
  const page = await world.api.listHosts();
  assert.deepEqual(new Set(page.hosts.map((host) => host.effectiveSerial)), new Set([3]));
});

test('tokens: each kind opens its own doors only', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  for (const [method, path, token] of [
    ['GET', '/v1/hosts', undefined],
    ['GET', '/v1/hosts', 'kmo_wrong'],
    ['GET', '/v1/hosts', host.token],
    ['GET', `/v1/hosts/${host.hostId}`, host.token],
    ['GET', '/v1/policy/fleet', host.token],
    ['POST', '/v1/publish', host.token],
    ['PUT', `/v1/uploads/${'0'.repeat(64)}`, host.token],
  ] as const) {
    const reply = await ask(world, method, path, method === 'GET' ? undefined : {}, token);
    assert.deepEqual([reply.status, reply.body.error?.code], [401, 'unauthorized'], `${method} ${path}`);
  }
  const asOperator = await ask(world, 'POST', '/v1/reports', exampleReport(1), world.token);
  assert.equal(asOperator.status, 401);
});

test('guessing tokens is slowed down', async (t) => {
  const world = await testServer(t);
  let limited: Reply | undefined;
  for (let n = 0; n < 60 && limited === undefined; n++) {
    const reply = await ask(world, 'GET', '/v1/hosts', undefined, `kmo_guess${n}`);
    if (reply.status === 429) limited = reply;
  }
  assert.equal(limited?.body.error?.code, 'rate-limited');
  assert.ok(Number(limited?.headers.get('retry-after')) >= 1);
});

test('malformed, oversized and unknown requests have a code and never a stack', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  const bad = await ask(world, 'POST', '/v1/reports', { schema: 'kmend.report/1' }, host.token);
  assert.deepEqual([bad.status, bad.body.error?.code], [400, 'bad-request']);
  const huge = await ask(world, 'POST', '/v1/enrol', { activationKey: 'x'.repeat(100_000) });
  assert.deepEqual([huge.status, huge.body.error?.code], [413, 'too-large']);
  const none = await ask(world, 'GET', '/v1/nothing');
  assert.deepEqual([none.status, none.body.error?.code], [404, 'not-found']);
  const text = await fetch(`${world.server.url}/v1/enrol`, {
    method: 'POST',
    body: '{',
    headers: { 'content-type': 'application/json' },
  });
  assert.equal(text.status, 400);
});

test('uploads: damaged, endless and broken-off ones leave nothing behind', async (t) => {
  const world = await testServer(t);
  const put = (hash: string, body: string | ReadableStream, type = 'application/octet-stream') =>
    fetch(`${world.server.url}/v1/uploads/${hash}`, {
      method: 'PUT',
      body,
      headers: { authorization: `Bearer ${world.token}`, 'content-type': type },
      duplex: 'half',
    } as RequestInit);
  assert.equal((await put(sha256('good'), 'other')).status, 422);
  assert.equal((await put('nonsense', 'x')).status, 400);
  assert.equal((await put(sha256('good'), '{}', 'application/json')).status, 400);
  const endless = new ReadableStream({
    pull(controller) {
      controller.enqueue(Buffer.alloc(2 ** 20));
    },
  });
  await put(sha256('endless'), endless).then(
    (response) => assert.equal(response.status, 413),
    () => undefined,
  );
  const { hostname, port } = new URL(world.server.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `PUT /v1/uploads/${sha256('cut')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.token}\r\ncontent-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf`,
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual(await readdir(world.path('data', 'uploads')), []);
  assert.equal((await put(sha256('good'), 'good')).status, 200);
  assert.deepEqual(await readdir(world.path('data', 'uploads')), [sha256('good')]);
});

test('publishing: twice, without uploads, with a stranger’s key', async (t) => {
  const world = await testServer(t);
  const { publication } = await publish(world, 1);
  await assert.rejects(publish(world, 1), withCode('publication-duplicate'));
  const replay = await ask(world, 'POST', '/v1/publish', publication.request, world.token);
  assert.deepEqual([replay.status, replay.body.error?.code], [409, 'publication-outdated']);
  const stranger = await testServer(t);
  const releaseKey = await loadReleaseKey(stranger.path('keys'));
  const livepatch = await writeArtifact(world.path('artifact-9'), 9);
  await assert.rejects(world.api.publish({ livepatch, channel: 'stable', releaseKey }), withCode('key-wrong'));
});

test('a renewal goes through the API, and hosts follow it', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  const client = await openRepositoryClient({
    directory: world.path('cache'),
    root: world.server.created?.root ?? '',
    url: world.server.repositoryUrl,
  });
  await client.check(signal);
  const keys = { root: await loadRootKey(world.path('keys')), release: await loadReleaseKey(world.path('keys')) };
  assert.equal((await world.api.renew(keys)).timestampVersion, 3);
  assert.equal((await client.check(signal)).version, 3);
  assert.equal((await client.fetchLivepatch(BUILD_ID, 1, signal)).target.serial, 1);
});

test('policy: fleet and kernel, as asked for and no further', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  const { api } = world;
  assert.equal((await api.setFleetPolicy({ halted: true })).halted, true);
  assert.deepEqual(
    [(await api.fleetPolicy()).halted, (await api.setFleetPolicy({ checkIntervalSeconds: 60 })).checkIntervalSeconds],
    [true, 60],
  );
  const withdrawn = await api.setKernelPolicy(BUILD_ID, { withdraw: [{ serial: 1, reason: 'it hangs' }] });
  assert.deepEqual(withdrawn.withdrawn, [{ serial: 1, reason: 'it hangs' }]);
  assert.equal(withdrawn.channels.stable?.settled, 1);
  assert.deepEqual((await api.setKernelPolicy(BUILD_ID, { restore: [1] })).withdrawn, []);
  const early = await api.setKernelPolicy(BUILD_ID, { channels: { early: { settled: 1, rollout: null } } });
  assert.deepEqual(Object.keys(early.channels).sort(), ['early', 'stable']);
  await assert.rejects(
    api.setKernelPolicy(BUILD_ID, { channels: { early: { settled: 7, rollout: null } } }),
    withCode('policy-invalid'),
  );
  await assert.rejects(api.kernelPolicy('cd'.repeat(20)), withCode('not-found'));
});

test('hosts come in pages by name, can be searched, and removed', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  for (let n = 0; n < 5; n++) await enrol(world, key, `web-${n % 3}`);
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const page = await world.api.listHosts({ limit: 2, ...(after === undefined ? {} : { after }) });
    assert.equal(page.total, 5);
    seen.push(...page.hosts.map((host) => host.hostname));
    after = page.next ?? undefined;
  } while (after !== undefined);
  assert.deepEqual(seen, ['web-0', 'web-0', 'web-1', 'web-1', 'web-2']);
  assert.equal((await world.api.listHosts({ search: 'b-2' })).total, 1);
  assert.equal((await world.api.listHosts({ search: '%' })).total, 0);
  await assert.rejects(world.api.showHost('00000000-0000-4000-8000-000000000000'), withCode('not-found'));
});

test('the repository: revalidated metadata, immutable targets, nothing outside', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(`${world.server.repositoryUrl}/${path}`, { headers });
  const timestamp = await get('metadata/timestamp.json');
  const etag = timestamp.headers.get('etag') ?? '';
  assert.equal(timestamp.headers.get('cache-control'), 'no-cache');
  assert.equal(
    await timestamp.text(),
    await readFile(world.path('data', 'repository', 'metadata', 'timestamp.json'), 'utf8'),
  );
  assert.equal((await get('metadata/timestamp.json', { 'if-none-match': etag })).status, 304);
  await publish(world, 2);
  assert.equal((await get('metadata/timestamp.json', { 'if-none-match': etag })).status, 200);
  const root = await get('metadata/1.root.json');
  assert.equal(root.headers.get('cache-control'), 'no-cache');
  // fetch adds "cache-control: no-cache" to conditional requests, which would ask for the whole file.
  const conditional = { 'if-none-match': root.headers.get('etag') ?? '', 'cache-control': 'max-age=0' };
  assert.equal((await get('metadata/1.root.json', conditional)).status, 304);
  const directory = world.path('data', 'repository', 'targets', 'kernels', BUILD_ID, '1');
  const target = await get(`targets/kernels/${BUILD_ID}/1/${(await readdir(directory))[0]}`);
  assert.match(target.headers.get('cache-control') ?? '', /immutable/);
  for (const path of ['metadata/2.root.json', '..%2fkeys%2fpolicy.key', '%2e%2e/operator-token', 'metadata/', '']) {
    const reply = await get(path);
    assert.equal(
      reply.status === 404 || reply.status === 403 || reply.status === 400,
      true,
      `${path}: ${reply.status}`,
    );
  }
});

test('health, metrics and the API’s description', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  await ask(world, 'POST', '/v1/reports', exampleReport(1), host.token);
  assert.deepEqual((await ask(world, 'GET', '/healthz')).body, {
    status: 'ok',
    checks: { store: 'ok', repository: 'ok' },
  });
  const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
  assert.match(metrics, /kmend_hosts\{axis="loaded",state="loaded"\} 1/);
  assert.match(metrics, /kmend_enrolments_total\{result="ok"\} 1/);
  assert.match(metrics, /kmend_reports_total\{result="ok"\} 1/);
  assert.match(metrics, /kmend_repository_role_version\{role="timestamp"\} 1/);
  assert.match(metrics, /kmend_repository_role_expires_seconds\{role="root"\} 6\d{7}/);
  const openapi = (await ask(world, 'GET', '/openapi.json')).body as {
    openapi: string;
    paths: Record<string, unknown>;
  };
  assert.equal(openapi.openapi, '3.1.0');
  assert.ok(Object.keys(openapi.paths).includes('/v1/reports'));
});

test('an expired repository is unhealthy until the server has signed it again', async (t) => {
  let offset = 0;
  const clock = { ...systemClock, now: () => new Date(Date.now() + offset) };
  const world = await testServer(t, { clock });
  offset = 2 * 86_400_000;
  assert.equal((await ask(world, 'GET', '/healthz')).status, 503);
  const again = await world.restart();
  assert.match(again.log(), /signed again/);
  assert.equal((await ask(again, 'GET', '/healthz')).status, 200);
});

test('a running server signs again by itself', async (t) => {
  let offset = 0;
  const clock = { ...systemClock, now: () => new Date(Date.now() + offset) };
  const world = await testServer(t, { clock, refreshIntervalMs: 20 });
  offset = 2 * 86_400_000;
  while (!world.log().includes('signed again')) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await ask(world, 'GET', '/healthz')).status, 200);
});

test('no secret is in the log', async (t) => {
  const world = await testServer(t, { logLevel: 'debug' });
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const { body } = await enrol(world, key);
  await ask(world, 'POST', '/v1/reports', exampleReport(1), String(body['token']));
  await ask(world, 'POST', '/v1/reports', { bad: 1 }, String(body['token']));
  await publish(world, 1);
  const log = world.log();
  assert.match(log, /host enrolled/);
  for (const secret of [key, String(body['token']), world.token]) assert.ok(!log.includes(secret));
  const store = await readFile(world.path('data', 'store.sqlite'));
  const wal = await readFile(world.path('data', 'store.sqlite-wal')).catch(() => Buffer.alloc(0));
  for (const secret of [key, String(body['token'])]) {
    assert.ok(!store.includes(secret) && !wal.includes(secret), 'secrets are stored hashed');
  }
});

test('the operator’s client names a server that is down, slow, or not one of ours', async (t) => {
  const world = await testServer(t);
  const client = (url: string, timeoutMs = 30_000) => createApiClient({ url, token: world.token, signal, timeoutMs });
  await assert.rejects(client(`${world.server.repositoryUrl}/metadata`).listKeys(), withCode('not-found'));
  await assert.rejects(
    createApiClient({ url: world.server.url, token: 'kmo_wrong', signal }).listKeys(),
    withCode('unauthorized'),
  );
  const { createServer } = await import('node:http');
  const other = createServer((request, response) => {
    if (request.url?.includes('hosts')) return;
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>please log in</html>');
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    other.closeAllConnections();
    await new Promise((resolve) => other.close(resolve));
  });
  const address = other.address();
  assert.ok(typeof address === 'object' && address !== null);
  const url = `http://127.0.0.1:${address.port}`;
  await assert.rejects(client(url).listKeys(), withCode('server-garbage'));
  await assert.rejects(client(url, 200).listHosts(), withCode('server-slow'));
  await world.server.close();
  await assert.rejects(client(world.server.url).listKeys(), withCode('server-unreachable'));
});
