import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { KmendError } from '@kmend/base';
import { sha256, systemClock } from '@kmend/base/node';
import { openRepositoryClient, prepareRotation } from '@kmend/trust';
import { createApiClient } from '../client/api-client.ts';
import { ask, enrol, enrolled, withCode } from '../testing/ask.ts';
import { BUILD_ID, exampleReport, exampleTrouble, publish, testServer, writeArtifact } from '../testing/world.ts';

const { signal } = new AbortController();

test('delivers a published livepatch to the client, which verifies it', async (t) => {
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

test('keeps nothing of damaged, endless and interrupted uploads', async (t) => {
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
  assert.equal((await put(sha256('endless'), endless)).status, 413);
  const { hostname, port } = new URL(world.server.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `PUT /v1/uploads/${sha256('cut')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.token}\r\ncontent-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf`,
  );
  const uploads = () => readdir(world.path('data', 'uploads'));
  // However long the server takes: an upload under way is a file.
  while ((await uploads()).length === 0) await systemClock.sleep(5);
  socket.destroy();
  while ((await uploads()).length > 0) await systemClock.sleep(5);
  assert.equal((await put(sha256('good'), 'good')).status, 200);
  assert.deepEqual(await uploads(), [sha256('good')]);
});

test('refuses to publish twice, without uploads, or with another key', async (t) => {
  const world = await testServer(t);
  const { publication } = await publish(world, 1);
  await assert.rejects(publish(world, 1), withCode('publication-duplicate'));
  const replay = await ask(world, 'POST', '/v1/publish', { body: publication.request, token: world.token });
  assert.deepEqual([replay.status, replay.body.error?.code], [409, 'publication-outdated']);
  const foreign = await testServer(t);
  const livepatch = await writeArtifact(world.path('artifact-9'), 9);
  await assert.rejects(
    world.api.publish({ livepatch, channel: 'stable', keys: foreign.path('keys') }),
    withCode('key-wrong'),
  );
});

test('renews the signatures through the API, and hosts accept them', async (t) => {
  const world = await testServer(t);
  await publish(world, 1);
  const client = await openRepositoryClient({
    directory: world.path('cache'),
    root: world.server.created?.root ?? '',
    url: world.server.repositoryUrl,
  });
  await client.check(signal);
  const operator = await world.api.operator(world.path('keys'));
  const renewal = await prepareRotation(operator, { fresh: { online: {} } });
  assert.equal((await world.api.rotate(operator, renewal)).timestampVersion, 3);
  assert.equal((await client.check(signal)).version, 3);
  assert.equal((await client.fetchLivepatch(BUILD_ID, 1, signal)).target.serial, 1);
});

test('changes only the requested parts of fleet and kernel policy', async (t) => {
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

test('rejects a contradictory policy change, and changes nothing', async (t) => {
  const world = await testServer(t);
  for (const n of [1, 2]) await publish(world, n);
  const { api } = world;
  const settle = (serial: number) => ({ stable: { settled: serial, rollout: null } });
  const withdraw = [{ serial: 2, reason: 'it hangs' }];
  const before = await api.setKernelPolicy(BUILD_ID, { withdraw, channels: settle(1) });
  const refused = async (change: Parameters<typeof api.setKernelPolicy>[1], said: RegExp): Promise<void> => {
    await assert.rejects(
      api.setKernelPolicy(BUILD_ID, change),
      (error: KmendError) => withCode('policy-invalid')(error) && said.test(`${error.message} ${error.hint}`),
    );
  };
  await refused({ restore: [1] }, /serial 1 is not withdrawn.*withdrawn: 2/);
  await refused({ channels: settle(2) }, /serial 2 is withdrawn.*it hangs.*restore it/);
  await refused({ channels: { early: { settled: 1, rollout: { id: 'r', serial: 2, permyriad: 1 } } } }, /serial 2/);
  await refused({ restore: [2], withdraw }, /serial 2 cannot be both/);
  assert.deepEqual(await api.kernelPolicy(BUILD_ID), before);
  // In one order: back, and in force again.
  const after = await api.setKernelPolicy(BUILD_ID, { restore: [2], channels: settle(2) });
  assert.deepEqual([after.withdrawn, after.channels.stable?.settled], [[], 2]);
  // What is settled may be withdrawn: hosts then run none.
  assert.equal((await api.setKernelPolicy(BUILD_ID, { withdraw })).channels.stable?.settled, 2);
});

test('lists hosts in pages by name, searches and removes them', async (t) => {
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

test('stores a carried report as if the host had sent it when it was written', async (t) => {
  const world = await testServer(t);
  const { hostId, token } = await enrolled(world);
  const event = { at: '2026-11-02T00:00:00Z', code: 'load-failed', message: 'no memory', serial: 5 };
  const file = (sequence: number, more: Parameters<typeof exampleReport>[1] = {}) => ({
    schema: 'kmend.report-file/1' as const,
    hostId,
    report: exampleReport(sequence, { at: '2020-01-01T00:00:00Z', ...more }),
  });
  const first = await world.api.importReport(file(3, { trouble: exampleTrouble, effectiveSerial: 5, events: [event] }));
  assert.deepEqual(first, { stored: true, newest: 3 });
  const shown = await world.api.showHost(hostId);
  assert.deepEqual(
    [shown.lastReport, shown.effectiveSerial, shown.trouble, shown.events],
    ['2020-01-01T00:00:00.000Z', 5, exampleTrouble, [event]],
  );
  for (const older of [1, 3])
    assert.deepEqual(await world.api.importReport(file(older, { effectiveSerial: 1 })), { stored: false, newest: 3 });
  assert.deepEqual(await world.api.showHost(hostId), shown, 'older ones change nothing');
  // The next file tells the same events again: the host does not know that they arrived.
  const later = { ...event, at: '2026-11-03T00:00:00Z', code: 'load-started' };
  await world.api.importReport(file(4, { at: '2999-01-01T00:00:00Z', effectiveSerial: 5, events: [event, later] }));
  const after = await world.api.showHost(hostId);
  assert.deepEqual(after.events, [later, event]);
  assert.ok((after.lastReport ?? '') <= new Date().toISOString(), 'never later than now');
  const many = Array.from({ length: 500 }, (_, n) => ({ ...later, message: `${n} ${'€'.repeat(1900)}` }));
  assert.equal(
    (await world.api.importReport(file(5, { effectiveSerial: 5, events: many }))).stored,
    true,
    'as large as by wire',
  );
  assert.equal((await ask(world, 'POST', '/v1/reports', { body: exampleReport(5), token })).status, 200);
  assert.equal((await world.api.showHost(hostId)).effectiveSerial, 5, 'nor by wire');
});

test('refuses a carried report of an unknown host, garbage, and a host’s own token', async (t) => {
  const world = await testServer(t);
  const { hostId, token } = await enrolled(world);
  const file = { schema: 'kmend.report-file/1' as const, hostId, report: exampleReport(1) };
  await assert.rejects(
    world.api.importReport({ ...file, hostId: '00000000-0000-4000-8000-000000000000' }),
    (error: KmendError) =>
      withCode('not-found')(error) && /web-1.*enrolled here/.test(error.message) && /enrol/.test(error.hint ?? ''),
  );
  const send = async (body: unknown, as: string): Promise<number> =>
    (await ask(world, 'POST', '/v1/hosts/reports', { body, token: as })).status;
  assert.equal(await send(file.report, world.token), 400);
  assert.equal(await send({ ...file, report: { ...file.report, sequence: 0 } }, world.token), 400);
  assert.equal(await send(file, token), 401);
  assert.equal((await world.api.showHost(hostId)).lastReport, null);
});

test('names a server that is down, slow, or not a kmend server', async (t) => {
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

test('lists hosts with long names of any characters to the end, page by page', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const names = ['東'.repeat(253), '🙂'.repeat(126), '\u{10ffff}'.repeat(126), 'é'.repeat(200), 'a\0b', 'web-1'];
  for (const name of names) assert.equal((await enrol(world, key, name)).status, 201);
  const found: string[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const page = await world.api.listHosts({ limit: 1, ...(after === undefined ? {} : { after }) });
    found.push(...page.hosts.map(({ id }) => id));
    after = page.next;
  }
  assert.equal(new Set(found).size, names.length);
});

test('lists a host name that an older server stored unchanged', async (t) => {
  const world = await testServer(t);
  for (let n = 0; n < 2; n++) await enrolled(world);
  await world.server.close();
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(world.path('data', 'store.sqlite'));
  database.prepare('UPDATE hosts SET hostname = ?').run('\u6771'.repeat(253));
  database.close();
  const { api } = await world.restart();
  const first = await api.listHosts({ limit: 1 });
  const last = await api.listHosts({ limit: 1, after: first.next ?? '' });
  assert.equal(new Set([...first.hosts, ...last.hosts].map(({ id }) => id)).size, 2);
});
