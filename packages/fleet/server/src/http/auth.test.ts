import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { startServer } from '../server.ts';
import { ask, enrol, enrolled, withCode } from '../testing/ask.ts';
import { exampleReport, type TestServer, testServer } from '../testing/world.ts';

/** Nothing is forgiven while a test runs, however slow the machine. */
const clock = { ...systemClock, monotonic: () => 0 };

/** Wrong secrets of every kind, until this address gets 429 for them. */
async function exhaust(world: TestServer, headers: Record<string, string> = {}): Promise<void> {
  for (let n = 0; n < 60; n++) {
    const authorization = `Bearer kmo_guess${n}`;
    const { status } = await fetch(`${world.server.url}/v1/hosts`, { headers: { authorization, ...headers } });
    if (status === 429) return;
  }
  assert.fail('wrong secrets are never refused with 429');
}

const basic = (key: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`kmend-web-1:${key}`).toString('base64')}`,
});

test('accepts a valid secret however many wrong ones come from the same address', async (t) => {
  const world = await testServer(t, { clock });
  const host = await enrolled(world);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  await exhaust(world);
  await world.api.setFleetPolicy({ halted: true });
  assert.equal((await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: host.token })).status, 200);
  assert.equal((await enrol(world, key)).status, 201);
  const packages = await fetch(`${world.server.url}/packages/apt/dists/stable/InRelease`, { headers: basic(key) });
  assert.equal(packages.status, 404, 'past the gate: nothing is published');
  // And the wrong ones still wait, each kind of them.
  const wrong = 'kmend-00000-00000-00000-00000-00000';
  assert.equal((await ask(world, 'GET', '/v1/hosts', { token: 'kmo_wrong' })).status, 429);
  assert.equal((await ask(world, 'POST', '/v1/reports', { body: exampleReport(2), token: 'kmh_wrong' })).status, 429);
  assert.equal((await enrol(world, wrong)).status, 429);
  const gate = await fetch(`${world.server.url}/packages/apt/x`, { headers: basic(wrong) });
  assert.deepEqual([gate.status, Number(gate.headers.get('retry-after')) >= 1], [429, true]);
});

test('trusts X-Forwarded-For only from a named proxy', async (t) => {
  const from = async (world: TestServer, address: string): Promise<string> => {
    await fetch(`${world.server.url}/v1/keys`, { headers: { 'x-forwarded-for': address } });
    const lines = world.log().split('\n');
    return JSON.parse(lines.findLast((line) => line.includes('/v1/keys')) ?? '{}').ip;
  };
  const none = await testServer(t);
  assert.equal(await from(none, '198.51.100.7'), '127.0.0.1');
  const elsewhere = await testServer(t, { behindProxy: true, trustProxy: ['192.0.2.0/24'] });
  assert.equal(await from(elsewhere, '198.51.100.7'), '127.0.0.1', 'this machine is not the proxy');
  const here = await testServer(t, { behindProxy: true });
  assert.equal(await from(here, '203.0.113.9, 198.51.100.7'), '198.51.100.7', 'the last one is the proxy’s own word');
  assert.equal(await from(here, '203.0.113.9, 127.0.0.1'), '127.0.0.1', 'a client on the proxy’s machine is no proxy');
  const chain = await testServer(t, { behindProxy: true, trustProxy: ['127.0.0.1', '192.0.2.0/24'] });
  assert.equal(await from(chain, '10.9.9.9, 198.51.100.7, 192.0.2.5'), '198.51.100.7');
  assert.equal(await from(chain, '10.9.9.9, nonsense, 192.0.2.5'), 'nonsense', 'no address is never a proxy');
});

test('counts wrong secrets through a proxy for the client that sent them', async (t) => {
  const world = await testServer(t, { behindProxy: true, clock });
  await exhaust(world, { 'x-forwarded-for': '203.0.113.9' });
  const { status } = await fetch(`${world.server.url}/v1/hosts`, {
    headers: { authorization: 'Bearer kmo_wrong', 'x-forwarded-for': '203.0.113.10' },
  });
  assert.equal(status, 401);
});

test('does not start with an invalid proxy address', async (t) => {
  const world = await testServer(t);
  const options = { dataDir: world.path('other'), host: '127.0.0.1', port: 0 };
  for (const network of ['proxy.example.org', '10.0.0.0/33', '0.0.0.0/0', '::/0', '10.0.0.1/8x', '']) {
    await assert.rejects(startServer({ ...options, trustProxy: [network] }), withCode('proxy-invalid'), network);
  }
});
