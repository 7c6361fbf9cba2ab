import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, enrol, enrolled, type Reply } from '../testing/ask.ts';
import { exampleReport, exampleTrouble, testServer } from '../testing/world.ts';

test('refuses an enrolment without seats, with an expired, a revoked or an unknown key, each with its code', async (t) => {
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

test('gives the last seat to one host only, however many ask at once', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: 3, expires: null });
  const replies = await Promise.all(Array.from({ length: 10 }, (_, n) => enrol(world, key, `web-${n}`)));
  assert.equal(replies.filter((reply) => reply.status === 201).length, 3);
});

test('keeps the newest report and all events, and ignores older reports', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  const report = (body: unknown) => ask(world, 'POST', '/v1/reports', { body, token: host.token });
  const event = { at: '2026-11-02T00:00:00Z', code: 'load-started', message: 'loading', serial: 5 };
  const answer = await report(exampleReport(5, { effectiveSerial: 5, events: [event] }));
  assert.deepEqual([answer.status, answer.body], [200, { nextReportSeconds: 86_400, channel: 'stable', newest: 5 }]);
  const older = await report(exampleReport(4, { effectiveSerial: 4 }));
  // The sender learns that it was ignored.
  assert.deepEqual([older.status, older.body['newest']], [200, 5]);
  const shown = await world.api.showHost(host.hostId);
  assert.equal(shown.effectiveSerial, 5);
  assert.deepEqual(shown.events, [event]);
  assert.equal(shown.status.loaded.state, 'loaded');
});

test('batches reports without changes, and still counts them', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: host.token });
  const before = await world.api.showHost(host.hostId);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(2), token: host.token });
  assert.deepEqual((await world.api.showHost(host.hostId)).lastReport, before.lastReport, 'not written at once');
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1, { effectiveSerial: 9 }), token: host.token });
  const again = await world.restart();
  const after = await again.api.showHost(host.hostId);
  assert.ok((after.lastReport ?? '') > (before.lastReport ?? ''), 'written on close');
  assert.equal(after.effectiveSerial, 1);
});

test('stores a host’s last obstacles, and records a change of them as an event', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  const trouble = async (sequence: number, more: Parameters<typeof exampleReport>[1]) => {
    assert.equal(
      (await ask(world, 'POST', '/v1/reports', { body: exampleReport(sequence, more), token: host.token })).status,
      200,
    );
    return (await world.api.showHost(host.hostId)).trouble;
  };
  assert.equal((await world.api.showHost(host.hostId)).trouble, null);
  assert.deepEqual(await trouble(1, { trouble: exampleTrouble }), exampleTrouble);
  const moved = { ...exampleTrouble, blockers: [] };
  assert.deepEqual(await trouble(2, { trouble: moved }), moved, 'at once, not with the next batch of unchanged ones');
  assert.equal(await trouble(3, {}), null, 'an agent that does not tell');
});

test('keeps many reports that arrive at once, the newest of each host', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const hosts = await Promise.all(Array.from({ length: 10 }, (_, n) => enrol(world, key, `web-${n}`)));
  const sent = hosts.flatMap(({ body }) =>
    [3, 1, 2].map((sequence) =>
      ask(world, 'POST', '/v1/reports', {
        body: exampleReport(sequence, { effectiveSerial: sequence }),
        token: String(body['token']),
      }),
    ),
  );
  assert.ok((await Promise.all(sent)).every((reply) => reply.status === 200));
  const page = await world.api.listHosts();
  assert.deepEqual(new Set(page.hosts.map((host) => host.effectiveSerial)), new Set([3]));
});

test('accepts each kind of token only on its own routes', async (t) => {
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
    const reply = await ask(world, method, path, { body: method === 'GET' ? undefined : {}, token });
    assert.deepEqual([reply.status, reply.body.error?.code], [401, 'unauthorized'], `${method} ${path}`);
  }
  const asOperator = await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: world.token });
  assert.equal(asOperator.status, 401);
});

test('rate-limits wrong tokens', async (t) => {
  const world = await testServer(t);
  let limited: Reply | undefined;
  for (let n = 0; n < 60 && limited === undefined; n++) {
    const reply = await ask(world, 'GET', '/v1/hosts', { token: `kmo_guess${n}` });
    if (reply.status === 429) limited = reply;
  }
  assert.equal(limited?.body.error?.code, 'rate-limited');
  assert.ok(Number(limited?.headers.get('retry-after')) >= 1);
});

test('answers malformed, oversized and unknown requests with a code and never with a stack', async (t) => {
  const world = await testServer(t);
  const host = await enrolled(world);
  const bad = await ask(world, 'POST', '/v1/reports', { body: { schema: 'kmend.report/1' }, token: host.token });
  assert.deepEqual([bad.status, bad.body.error?.code], [400, 'bad-request']);
  const huge = await ask(world, 'POST', '/v1/enrol', { body: { activationKey: 'x'.repeat(100_000) } });
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
