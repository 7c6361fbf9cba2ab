import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Report, type ReportResponse } from '@kmend/protocol';
import { TrustError } from '@kmend/trust';
import { code } from '../testing/errors.ts';
import { check as look, makeFetcher, makeHost, never, type TestHost } from '../testing/host.ts';
import { check } from './check.ts';
import { type Glance, isDue } from './idle.ts';
import { stillCurrent } from './idle-request.ts';
import type { IdleState } from './idle-state.ts';
import { digestOf, sendReport, whatToTell } from './report.ts';
import { reportIfDue, retryMs } from './reporter.ts';
import { jittered, waitSeconds } from './wait.ts';

test('records the contact of a check (ok, unreachable, untrusted), and ignores its own full disk', async (t) => {
  const host = await makeHost(t);
  const fetcher = await makeFetcher(host);
  host.repository.choose(1);
  assert.equal((await check(fetcher, never)).changed, true);
  assert.equal(fetcher.contact.value.contact?.state, 'ok');
  assert.equal(fetcher.contact.value.intervalSeconds, 60);
  host.repository.failure = new TrustError('repository-unreachable', 'down');
  await assert.rejects(check(fetcher, never), code('repository-unreachable'));
  assert.equal(fetcher.contact.value.contact?.state, 'unreachable');
  host.repository.failure = new TrustError('repository-unsigned', 'tampered');
  await assert.rejects(check(fetcher, never), code('repository-unsigned'));
  assert.equal(fetcher.contact.value.contact?.state, 'untrusted');
  host.repository.failure = new TrustError('disk-full', 'full');
  await assert.rejects(check(fetcher, never), code('disk-full'));
  assert.equal(fetcher.contact.value.contact?.state, 'untrusted');
  await assert.rejects(check(fetcher, AbortSignal.abort()), code('interrupted'));
});

/** A fetcher that reports to a server of its own, which answers as it is told. */
async function reporting(
  t: TestContext,
  host: TestHost,
  answer: (report: Report) => { status: number; body: ReportResponse },
) {
  const server = createServer(async (request, response) => {
    assert.equal(request.headers.authorization, 'Bearer secret');
    const { status, body } = answer(Report.parse(JSON.parse(Buffer.concat(await request.toArray()).toString())));
    response.writeHead(status).end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const made = await makeFetcher(host);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { ...made, config: { ...made.config, server: url }, edges: { ...made.edges, fetch } };
}

test('continues from the server’s number after the report count was set back', async (t) => {
  const host = await makeHost(t);
  const taken: number[] = [];
  let newest = 40;
  const fetcher = await reporting(t, host, ({ sequence }) => {
    if (sequence > newest) {
      taken.push(sequence);
      newest = sequence;
    }
    return { status: 200, body: { nextReportSeconds: 60, channel: 'stable', newest } };
  });
  await sendReport(fetcher, await whatToTell(fetcher), never);
  await sendReport(fetcher, await whatToTell(fetcher), never);
  assert.deepEqual(taken, [41, 42]);
});

test('reports at once after enrolling again', async (t) => {
  const host = await makeHost(t);
  let heard = 0;
  const fetcher = await reporting(t, host, () => {
    heard++;
    return { status: 200, body: { nextReportSeconds: 86_400, channel: 'stable' } };
  });
  await reportIfDue(fetcher, never);
  await reportIfDue(fetcher, never);
  assert.equal(heard, 1);
  fetcher.identity = { ...fetcher.identity, hostId: '00000000-0000-4000-8000-00000000000f' };
  await reportIfDue(fetcher, never);
  await reportIfDue(fetcher, never);
  assert.equal(heard, 2);
});

test('reports events once, counts up, and takes the channel that the server gives', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await look(host.loader, never);
  await host.advance(1_000);
  const seen: Report[] = [];
  let status = 503;
  const fetcher = await reporting(t, host, (report) => {
    seen.push(report);
    return { status, body: { nextReportSeconds: 86_400, channel: 'early' } };
  });
  await check(fetcher, never);
  await assert.rejects(sendReport(fetcher, await whatToTell(fetcher), never));
  status = 200;
  assert.equal(await sendReport(fetcher, await whatToTell(fetcher), never), 86_400);
  assert.deepEqual(
    seen.map((it) => it.sequence),
    [1, 2],
  );
  assert.deepEqual(
    seen[1]?.events.map((it) => it.code),
    ['load-started', 'loaded', 'transition-complete', 'replaced'],
  );
  assert.equal(seen[1]?.effectiveSerial, 1);
  assert.equal(seen[1]?.facts.microcode, '0xf0');
  const after = await whatToTell(fetcher);
  assert.deepEqual(after.content.events, []);
  assert.equal(fetcher.identity.channel, 'early');
  // Looked at a moment later, nothing new is said.
  host.kernel.clock.ms += 1_000;
  assert.equal(digestOf((await whatToTell(fetcher)).content), digestOf(after.content));
});

test('tells the loader if a good livepatch is missing from the kernel', async (t) => {
  const host = await makeHost(t, { soakSeconds: 0 });
  const fetcher = await makeFetcher(host);
  host.repository.choose(1);
  await look(host.loader, never);
  assert.equal(await host.advance(1_000), 'good');
  assert.equal((await whatToTell(fetcher)).astray, false);
  const [livepatch = ''] = (await whatToTell(fetcher)).content.livepatches.map((it) => it.name);
  await host.kernel.drop(livepatch);
  assert.equal((await whatToTell(fetcher)).astray, true);
});

const idle: IdleState = {
  schema: 'kmend.agent-idle/1',
  url: 'http://127.0.0.1:1/metadata/timestamp.json',
  etag: '"x"',
  proxy: {},
  caFile: null,
  writtenAt: 1_000,
  freshUntil: 9_000,
  reportAt: 8_000,
  lookAt: 7_000,
  intervalSeconds: 60,
  told: 4,
};
const glance: Glance = {
  idle,
  journal: { current: { module: 'kmend_000000000001', phase: 'good' }, events: [{ number: 4 }] },
  wakeAt: undefined,
  inForce: true,
  isStackStale: false,
  now: 2_000,
};

test('asks for a full check after an idle one only if something may be due', () => {
  assert.equal(isDue(glance), false);
  const due: Partial<Glance>[] = [
    { idle: undefined },
    { journal: undefined },
    { now: 500 },
    { now: 7_000 },
    { idle: { ...idle, lookAt: 99_000, reportAt: 1_500 } },
    { idle: { ...idle, freshUntil: 2_000 } },
    { wakeAt: 2_000 },
    { idle: { ...idle, told: 3 } },
    { inForce: false },
    { isStackStale: true },
  ];
  for (const change of due) assert.equal(isDue({ ...glance, ...change }), true, JSON.stringify(change));
  assert.equal(isDue({ ...glance, wakeAt: 3_000 }), false);
  // What is not good yet is watched by the loader.
  assert.equal(isDue({ ...glance, inForce: false, journal: { current: null, events: [{ number: 4 }] } }), false);
});

test('sends one request with the ETag in an idle check, and counts only 304 as idle', async (t) => {
  const asked: (string | undefined)[] = [];
  let status = 304;
  const server = createServer((request, response) => {
    asked.push(request.headers['if-none-match']);
    response.writeHead(status).end();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metadata/timestamp.json`;
  assert.equal(await stillCurrent({ ...idle, url }), true);
  for (status of [200, 404, 500, 302]) assert.equal(await stillCurrent({ ...idle, url }), false);
  assert.deepEqual(new Set(asked), new Set(['"x"']));
  assert.equal(await stillCurrent(idle), false);
});

test('checks again after the interval, or when the loader requests it', () => {
  const now = 1_000_000;
  assert.equal(waitSeconds({ intervalSeconds: 100, wakeAt: undefined, now }, 0.5), 100);
  assert.equal(waitSeconds({ intervalSeconds: 100, wakeAt: now + 20_000, now }, 0.5), 21);
  assert.equal(waitSeconds({ intervalSeconds: 100, wakeAt: now - 1, now }, 0.5), 100);
  assert.equal(waitSeconds({ intervalSeconds: 1, wakeAt: undefined, now }, 0), 5);
});

test('jitters intervals, and backs retries off to an hour', () => {
  assert.deepEqual([jittered(100, 0), jittered(100, 0.5), jittered(100, 1)], [80_000, 100_000, 120_000]);
  assert.deepEqual([retryMs(1, 0), retryMs(1, 1), retryMs(5, 1), retryMs(99, 1)], [2_500, 5_000, 80_000, 3_600_000]);
});
