import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { ask, enrol, enrolled } from '../testing/ask.ts';
import { exampleFacts, exampleReport, testServer } from '../testing/world.ts';

const DAY = 86_400_000;

function movableClock() {
  const time = { offset: 0 };
  return { time, clock: { ...systemClock, now: () => new Date(Date.now() + time.offset) } };
}

test('shows a host that does not report as silent on every axis', async (t) => {
  const { time, clock } = movableClock();
  const world = await testServer(t, { clock });
  const { hostId, token } = await enrolled(world);
  const presence = async () => (await world.api.showHost(hostId)).presence;
  const loaded = async (state: string) => {
    const text = await (await fetch(`${world.server.url}/metrics`)).text();
    return new RegExp(`kmend_hosts\\{axis="loaded",state="${state}"\\} (\\d+)`).exec(text)?.[1];
  };
  assert.equal(await presence(), 'never');
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token });
  assert.deepEqual([await presence(), await loaded('loaded')], ['reporting', '1']);
  time.offset = 1.9 * DAY;
  assert.equal(await presence(), 'reporting');
  time.offset = 2.1 * DAY;
  assert.equal(await presence(), 'silent');
  assert.deepEqual([await loaded('silent'), await loaded('loaded')], ['1', undefined]);
  assert.equal((await world.api.listHosts()).hosts[0]?.presence, 'silent');
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(2, { effectiveSerial: 2 }), token });
  assert.equal((await world.api.listHosts()).hosts[0]?.presence, 'reporting');
});

test('lets the operator choose how long a host may be silent and keep its seat', async (t) => {
  const { time, clock } = movableClock();
  const times = { reportSeconds: 3600, missedReports: 3, seatMs: 10 * DAY };
  const world = await testServer(t, { clock, times });
  const { key, id } = await world.api.createKey({ name: 'k', channel: 'stable', seats: 1, expires: null });
  const { body } = await enrol(world, key);
  const answer = await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: String(body['token']) });
  assert.equal(answer.body['nextReportSeconds'], 3600);
  time.offset = 5 * 3_600_000;
  assert.equal((await world.api.listHosts()).hosts[0]?.presence, 'silent');
  const used = async () => (await world.api.listKeys()).find((one) => one.id === id)?.used;
  time.offset = 9 * DAY;
  assert.equal((await enrol(world, key, 'web-2')).body.error?.code, 'key-no-seats');
  time.offset = 11 * DAY;
  assert.equal(await used(), 0);
  assert.equal((await enrol(world, key, 'web-2')).status, 201);
  // It comes back after all: a host that had a seat is not refused, and the count shows it.
  await ask(world, 'POST', '/v1/reports', {
    body: exampleReport(2, { effectiveSerial: 2 }),
    token: String(body['token']),
  });
  assert.equal(await used(), 2);
});

test('tells a removed host that it was removed, and frees its seat', async (t) => {
  const world = await testServer(t);
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: 1, expires: null });
  const { body } = await enrol(world, key);
  await world.api.removeHost(String(body['hostId']));
  const reply = await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: String(body['token']) });
  assert.deepEqual([reply.status, reply.body.error?.code], [401, 'host-removed']);
  const again = await world.restart();
  assert.equal(
    (await ask(again, 'POST', '/v1/reports', { body: exampleReport(1), token: String(body['token']) })).status,
    401,
  );
  const unknown = await ask(again, 'POST', '/v1/reports', { body: exampleReport(1), token: 'kmh_never-given-out' });
  assert.deepEqual([unknown.status, unknown.body.error?.code], [401, 'unauthorized']);
  assert.equal((await enrol(again, key)).status, 201);
});

test('counts a machine that enrols again once, and frees its old seat', async (t) => {
  const world = await testServer(t);
  const { key, id } = await world.api.createKey({ name: 'k', channel: 'stable', seats: 1, expires: null });
  const facts = { ...exampleFacts(), machineId: 'a'.repeat(64) };
  const enrolAgain = async () => (await ask(world, 'POST', '/v1/enrol', { body: { activationKey: key, facts } })).body;
  const first = await enrolAgain();
  const second = await enrolAgain();
  assert.ok(second['hostId']);
  const presence = async (hostId: unknown) => (await world.api.showHost(String(hostId))).presence;
  assert.deepEqual([await presence(first['hostId']), await presence(second['hostId'])], ['replaced', 'never']);
  const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
  assert.match(metrics, /kmend_hosts\{axis="contact",state="unknown"\} 1/);
  // The old identity reports after all: there are two.
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1, { facts }), token: String(first['token']) });
  assert.equal(await presence(first['hostId']), 'reporting');
  assert.equal((await world.api.listKeys()).find((one) => one.id === id)?.used, 2);
});

test('counts kernels that wait for a reboot, and those that need no livepatch', async (t) => {
  const world = await testServer(t);
  const [waits, fresh, plain] = [await enrolled(world), await enrolled(world), await enrolled(world)];
  const pendingKernel = { release: '6.1.0-48-amd64', buildId: null, serial: null };
  const facts = { ...exampleFacts(), pendingKernel };
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1, { facts }), token: waits.token });
  const trouble = { reason: 'none-needed', problem: null, hold: null, quarantined: [], blockers: [] };
  const newest = { ...exampleFacts(), pendingKernel: null };
  const more = { trouble, facts: newest, effectiveSerial: null };
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1, more), token: fresh.token });
  await ask(world, 'POST', '/v1/reports', { body: exampleReport(1), token: plain.token });
  const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
  for (const line of [
    'axis="kernel",state="waits-for-reboot"} 1',
    'axis="kernel",state="newest"} 1',
    'axis="kernel",state="unknown"} 1',
    'axis="coverage",state="not-needed"} 1',
    'axis="loaded",state="not-needed"} 1',
    'axis="loaded",state="loaded"} 2',
  ]) {
    assert.ok(metrics.includes(`kmend_hosts{${line}`), line);
  }
  const shown = await world.api.showHost(waits.hostId);
  assert.deepEqual(shown.pendingKernel, pendingKernel);
  assert.equal((await world.api.showHost(fresh.hostId)).noneNeeded, true);
});
