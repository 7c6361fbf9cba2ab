import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { ask, enrolled, withCode } from '../testing/ask.ts';
import { exampleFacts, exampleReport, type TestServer, testServer } from '../testing/world.ts';

const boot = (n: number): string => `00000000-0000-4000-8000-0000000000b${n}`;
const machine = (n: number): string => String(n).repeat(64);

function reporter(world: TestServer, token: string) {
  return async (sequence: number, facts: Partial<ReturnType<typeof exampleFacts>> = {}, serial = 1, at?: string) => {
    const more = {
      facts: { ...exampleFacts(), ...facts },
      effectiveSerial: serial,
      ...(at === undefined ? {} : { at }),
    };
    const { status, body } = await ask(world, 'POST', '/v1/reports', { body: exampleReport(sequence, more), token });
    return { status, newest: body['newest'], code: body.error?.code };
  };
}

test('accepts reports of a host that was restored from a snapshot', async (t) => {
  const world = await testServer(t);
  const { hostId, token } = await enrolled(world);
  const report = reporter(world, token);
  await report(7, { bootId: boot(1) }, 7);
  const serial = async () => (await world.api.showHost(hostId)).effectiveSerial;
  // The very same report again: its answer was lost.
  assert.deepEqual(await report(7, { bootId: boot(1) }, 7), { status: 200, newest: 7, code: undefined });
  assert.deepEqual(await report(7, { bootId: boot(2) }, 5), { status: 200, newest: 7, code: undefined });
  assert.equal(await serial(), 5, 'taken');
  // With its memory, the boot is the same, and another report has that number already.
  const answer = await report(7, { bootId: boot(2) }, 6, '2026-11-03T00:00:00Z');
  assert.deepEqual([answer.newest, await serial()], [8, 5], 'not taken, and the answer says so');
  await report(9, { bootId: boot(2) }, 6, '2026-11-03T00:00:00Z');
  assert.equal(await serial(), 6);
});

test('refuses the largest report number from a stolen token; the operator resets the count', async (t) => {
  const world = await testServer(t);
  const { hostId, token } = await enrolled(world);
  const report = reporter(world, token);
  await report(1);
  for (const sequence of [Number.MAX_SAFE_INTEGER, 200_000]) {
    const { status, code } = await report(sequence);
    assert.deepEqual([status, code], [409, 'sequence-jump']);
  }
  const shown = await world.api.showHost(hostId);
  assert.notEqual(shown.refused, null);
  assert.deepEqual(
    shown.events.map(({ code }) => code),
    ['report-refused'],
    'once, however many there are',
  );
  assert.equal((await report(2, {}, 2)).status, 200);
  // Within the step the host finds out how to be heard.
  await report(90_000);
  assert.equal((await report(3, {}, 3)).newest, 90_000);
  assert.equal((await report(90_001, {}, 3)).status, 200);
  await world.api.resetHost(hostId);
  assert.deepEqual([(await report(4, {}, 4)).newest, (await world.api.showHost(hostId)).effectiveSerial], [4, 4]);
  assert.equal((await world.api.showHost(hostId)).refused, null);
  await assert.rejects(world.api.resetHost('00000000-0000-4000-8000-000000000000'), withCode('not-found'));
});

test('accepts reports of a muted host again after a reset', async (t) => {
  const world = await testServer(t);
  const { hostId, token } = await enrolled(world);
  await world.server.close();
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(world.path('data', 'store.sqlite'));
  database.prepare('UPDATE hosts SET sequence = ?').run(Number.MAX_SAFE_INTEGER);
  database.close();
  const again = await world.restart();
  const report = reporter(again, token);
  assert.equal((await report(5, {}, 5)).newest, Number.MAX_SAFE_INTEGER);
  await again.api.resetHost(hostId);
  assert.equal((await report(5, {}, 5)).newest, 5);
  assert.equal((await again.api.showHost(hostId)).effectiveSerial, 5);
});

test('detects clones: at once by machine-id, otherwise when they report in turns', async (t) => {
  const time = { offset: 0 };
  const clock = { ...systemClock, now: () => new Date(Date.now() + time.offset) };
  const world = await testServer(t, { clock });
  const shared = async () =>
    /kmend_hosts_shared_identity (\d+)/.exec(await (await fetch(`${world.server.url}/metrics`)).text())?.[1];
  const others = async (id: string) =>
    (await world.api.listHosts()).hosts.find((host) => host.id === id)?.otherMachines?.map(({ hostname }) => hostname);

  const image = await enrolled(world);
  const report = reporter(world, image.token);
  await report(1, { hostname: 'web-1', bootId: boot(1), machineId: machine(1) });
  await report(2, { hostname: 'web-1', bootId: boot(2), machineId: machine(1) });
  assert.deepEqual([await others(image.hostId), await shared()], [undefined, '0'], 'a reboot is no clone');
  await report(2, { hostname: 'web-2', bootId: boot(3), machineId: machine(2) }, 2);
  assert.deepEqual([await others(image.hostId), await shared()], [['web-1', 'web-1'], '1']);

  const unnamed = await enrolled(world);
  const say = reporter(world, unnamed.token);
  await say(1, { hostname: 'db-1', bootId: boot(1) });
  await say(1, { hostname: 'db-2', bootId: boot(2) });
  assert.equal(await others(unnamed.hostId), undefined, 'it may have been renamed');
  await say(2, { hostname: 'db-1', bootId: boot(1) });
  assert.deepEqual([await others(unnamed.hostId), await shared()], [['db-2'], '2']);
  const shown = await world.api.showHost(unnamed.hostId);
  assert.equal(shown.otherMachines?.[0]?.bootId, boot(2));

  // Two of them were image builders that are gone.
  time.offset = 5 * 86_400_000;
  await say(3, { hostname: 'db-1', bootId: boot(1) });
  assert.deepEqual([await others(unnamed.hostId), await shared()], [undefined, '0']);
});

test('handles reports of one host in sequence, those of others in parallel', async (t) => {
  const world = await testServer(t);
  const { token } = await enrolled(world);
  const other = await enrolled(world);
  const { request } = await import('node:http');
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}`, 'content-length': 5000 };
  const slow = request(`${world.server.url}/v1/reports`, { method: 'POST', headers });
  slow.on('error', () => {});
  slow.write('{');
  await new Promise((resolve) => setTimeout(resolve, 200));
  let answered = false;
  const second = reporter(
    world,
    token,
  )(1).then((answer) => {
    answered = true;
    return answer;
  });
  assert.equal((await reporter(world, other.token)(1)).status, 200);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(answered, false, 'its turn comes when the first one is done');
  slow.destroy();
  assert.equal((await second).status, 200);
});

test('refuses a report above the size limit before reading it', async (t) => {
  const world = await testServer(t);
  const { token } = await enrolled(world);
  const events = Array.from({ length: 500 }, () => ({
    at: '2026-11-02T00:00:00Z',
    code: 'x',
    message: 'y'.repeat(2000),
  }));
  const reply = await ask(world, 'POST', '/v1/reports', {
    body: exampleReport(1, { events: [...events, ...events] }),
    token,
  });
  assert.deepEqual([reply.status, reply.body.error?.code], [413, 'too-large']);
});
