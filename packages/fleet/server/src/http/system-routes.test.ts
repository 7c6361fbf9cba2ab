import assert from 'node:assert/strict';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { ask, enrol, enrolled } from '../testing/ask.ts';
import { BUILD_ID, exampleReport, publish, testServer } from '../testing/world.ts';

test('serves metadata for revalidation, targets as immutable, and nothing outside the repository', async (t) => {
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
  // As a proxy that compresses makes of it, among others, and any.
  for (const weak of [`W/${etag}`, `"other", W/${etag}`, '*']) {
    assert.equal((await get('metadata/timestamp.json', { 'if-none-match': weak })).status, 304, weak);
  }
  assert.equal((await get('metadata/timestamp.json', { 'if-none-match': etag.slice(1, -1) })).status, 200);
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
  const whole = Buffer.from(await target.arrayBuffer());
  const rest = await get(`targets/kernels/${BUILD_ID}/1/${(await readdir(directory))[0]}`, { range: 'bytes=7-' });
  assert.equal(rest.status, 206, 'an interrupted download can be resumed');
  assert.equal(rest.headers.get('content-range'), `bytes 7-${whole.length - 1}/${whole.length}`);
  assert.deepEqual(Buffer.from(await rest.arrayBuffer()), whole.subarray(7));
  for (const path of ['metadata/2.root.json', '..%2fkeys%2fpolicy.key', '%2e%2e/operator-token', 'metadata/', '']) {
    const reply = await get(path);
    assert.equal(
      reply.status === 404 || reply.status === 403 || reply.status === 400,
      true,
      `${path}: ${reply.status}`,
    );
  }
});

test('serves health, metrics and the description of the API', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: host.token });
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
  const paths = Object.keys(openapi.paths);
  for (const path of ['/v1/reports', '/v1/packages/{format}', '/packages/{format}/{*}']) {
    assert.ok(paths.includes(path), `${path}: ${paths.join(' ')}`);
  }
});

test('reports an expired repository as unhealthy until it is signed again', async (t) => {
  let offset = 0;
  const clock = { ...systemClock, now: () => new Date(Date.now() + offset) };
  const world = await testServer(t, { clock });
  offset = 2 * 86_400_000;
  assert.equal((await ask(world, 'GET', '/healthz')).status, 503);
  const again = await world.restart();
  assert.match(again.log(), /signed again/);
  assert.equal((await ask(again, 'GET', '/healthz')).status, 200);
});

test('reports repository files that are missing before a host needs them', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  const health = async () => {
    const { status, body } = await ask(world, 'GET', '/healthz');
    return [status, (body['checks'] as { repository: string }).repository] as const;
  };
  assert.deepEqual(await health(), [200, 'ok']);
  const repository = (...parts: string[]): string => world.path('data', 'repository', ...parts);
  const kernel = ['targets', 'kernels', BUILD_ID, '1'];
  const [module = ''] = await readdir(repository(...kernel));
  const files = [
    'timestamp.json',
    '1.root.json',
    '2.snapshot.json',
    '2.targets.json',
    '2.policy.json',
    `1.kernel-${BUILD_ID}.json`,
  ];
  for (const path of [...files.map((name) => ['metadata', name]), [...kernel, module]]) {
    await rename(repository(...path), repository('away'));
    const [status, said] = await health();
    assert.deepEqual([status, said.includes(path.join('/'))], [503, true], said);
    assert.equal((await fetch(`${world.server.url}/metrics`)).status, 200);
    await writeFile(repository(...path), 'cut short');
    if (path.at(-1) === module || path.at(-1)?.startsWith('1.kernel')) assert.equal((await health())[0], 503);
    await rename(repository('away'), repository(...path));
  }
  assert.equal((await health())[0], 200);
  await rm(repository('targets', 'policy'), { recursive: true });
  assert.match((await health())[1], /policy\/[0-9a-f]+\.fleet\.json/);
});

test('signs again by itself while it runs', async (t) => {
  let offset = 0;
  const clock = { ...systemClock, now: () => new Date(Date.now() + offset) };
  const world = await testServer(t, { clock, refreshIntervalMs: 20 });
  offset = 2 * 86_400_000;
  while (!world.log().includes('signed again')) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await ask(world, 'GET', '/healthz')).status, 200);
});

test('writes no secret to the log', async (t) => {
  const world = await testServer(t, { logLevel: 'debug' });
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const { body } = await enrol(world, key);
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: String(body['token']) });
  await ask(world, 'POST', '/v1/reports', { body: { bad: 1 }, token: String(body['token']) });
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

test('escapes control characters of host names in the log', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const hostname = 'web\x1b[2J\u009b31m\u202e-1';
  assert.equal((await enrol(world, key, hostname)).status, 201);
  const line = world
    .log()
    .split('\n')
    .find((text) => text.includes('host enrolled'));
  assert.doesNotMatch(line ?? '', /[\p{Cc}\p{Cf}]/u);
  assert.match(JSON.parse(line ?? '{}').hostname, /^web.*-1$/);
});

test('does not treat a client as local because its header says so', async (t) => {
  const world = await testServer(t, { behindProxy: true });
  const metrics = (headers: Record<string, string>) => fetch(`${world.server.url}/metrics`, { headers });
  assert.equal((await metrics({ 'x-forwarded-for': '127.0.0.1' })).status, 401);
  assert.equal((await metrics({})).status, 401);
  assert.equal((await metrics({ authorization: `Bearer ${world.token}` })).status, 200);
  const keys = `${world.server.url}/v1/keys`;
  await fetch(keys, { headers: { 'x-forwarded-for': '127.0.0.1, 198.51.100.7' } });
  const line = world
    .log()
    .split('\n')
    .find((text) => text.includes('/v1/keys'));
  assert.equal(JSON.parse(line ?? '{}').ip, '198.51.100.7');
});

test('re-signs what a start with a wrong clock signed for too long', async (t) => {
  const DAY = 86_400_000;
  const ahead = { ...systemClock, now: () => new Date(Date.now() + 300 * DAY) };
  const world = await testServer(t);
  const wrong = await world.restart({ clock: ahead });
  const again = await wrong.restart({});
  const { body, status } = await ask(again, 'GET', '/healthz');
  assert.deepEqual([status, body], [200, { status: 'ok', checks: { store: 'ok', repository: 'ok' } }]);
  const text = await readFile(world.path('data', 'repository', 'metadata', 'timestamp.json'), 'utf8');
  assert.ok(Date.parse(JSON.parse(text).signed.expires) <= Date.now() + DAY);
});

test('reports signatures that were made by a clock that was ahead', async (t) => {
  const DAY = 86_400_000;
  const made = await testServer(t, { clock: { ...systemClock, now: () => new Date(Date.now() + 300 * DAY) } });
  const world = await made.restart({});
  assert.match(
    JSON.stringify((await ask(world, 'GET', '/healthz')).body),
    /"status":"ok".*"notes":\["signed by a clock that was ahead: root, targets; sign again with kmend keys renew"\]/,
  );
  // The clock falls back while the server runs.
  let behind = 0;
  const clock = { ...systemClock, now: () => new Date(Date.now() - behind) };
  const running = await world.restart({ clock });
  behind = 3 * DAY;
  const { status, body } = await ask(running, 'GET', '/healthz');
  assert.equal(status, 503);
  assert.match(JSON.stringify(body), /holds longer than it may, not signed again yet: timestamp/);
});
