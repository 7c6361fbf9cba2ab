import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeFetcher, makeHost, never } from '../testing/host.ts';
import { attentive } from './patience.ts';
import { reportIfDue } from './reporter.ts';
import { retryAfterMs } from './retry-after.ts';
import { waitSeconds } from './wait.ts';

test('reads Retry-After as seconds or a date, and obeys it for an hour at most', () => {
  const now = Date.parse('2026-11-01T00:00:00Z');
  assert.equal(retryAfterMs('120', now), 120_000);
  assert.equal(retryAfterMs('Sun, 01 Nov 2026 00:05:00 GMT', now), 300_000);
  assert.equal(retryAfterMs('Sun, 01 Nov 2020 00:05:00 GMT', now), 0);
  assert.equal(retryAfterMs('999999999', now), 3_600_000);
  for (const value of [null, undefined, '', 'soon', '-5'])
    assert.equal(retryAfterMs(value, now) ?? 0, 0, String(value));
});

test('obeys the pause of a 429 or 503 for that server only', async (t) => {
  const host = await makeHost(t);
  const { clock } = host.kernel;
  const answers = [429, 503, 500, 200].map(
    (status) => new Response(null, { status, headers: { 'retry-after': '600' } }),
  );
  const { fetch, pauseMs } = attentive(async () => answers.shift() ?? Response.error(), clock);
  for (const name of ['a', 'b', 'c', 'd']) await fetch(`https://${name}.example.org/x`);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((it) => pauseMs(`https://${it}.example.org/other`)),
    [600_000, 600_000, 0, 0],
  );
  clock.ms += 599_000;
  assert.equal(pauseMs('https://a.example.org/'), 1_000);
});

test('waits for the Retry-After pause with checks and reports', async (t) => {
  const wait = { intervalSeconds: 60, wakeAt: undefined, now: 0 };
  assert.ok(waitSeconds({ ...wait, pauseMs: 600_000 }, 0) >= 600);
  assert.ok(waitSeconds(wait, 1) <= 72);
  const host = await makeHost(t);
  const made = await makeFetcher(host);
  const edges = {
    ...made.edges,
    fetch: async () => new Response('busy', { status: 429, headers: { 'retry-after': '900' } }),
  };
  await reportIfDue({ ...made, edges, pauseMs: () => 900_000 }, never);
  assert.ok(made.reports.value.dueAt - host.kernel.clock.ms >= 900_000);
});

test('names a proxy that requires a password, however Node words it', async (t) => {
  const { clock } = (await makeHost(t)).kernel;
  for (const cause of [
    new Error('Proxy Authentication Required (407)'),
    new Error('Request was cancelled.', { cause: new Error('Proxy response (407) !== 200 when HTTP Tunneling') }),
  ]) {
    const { fetch } = attentive(() => Promise.reject(new TypeError('fetch failed', { cause })), clock);
    await assert.rejects(fetch('https://a.example.org/'), (error: Error) =>
      /user and a password/.test(String(error.cause)),
    );
  }
});

test('remembers a server’s refusal of reports until it accepts one', async (t) => {
  const host = await makeHost(t);
  const made = await makeFetcher(host);
  const error = { code: 'host-unknown', message: 'no such host' };
  const edges = { ...made.edges, fetch: async () => new Response(JSON.stringify({ error }), { status: 401 }) };
  await reportIfDue({ ...made, edges }, never);
  const { refusal } = made.reports.value;
  assert.equal(refusal?.code, 'host-unknown');
  assert.match(refusal?.message ?? '', /no such host/);
  host.kernel.clock.ms += 3_600_000;
  const answer = JSON.stringify({ nextReportSeconds: 86_400, channel: 'stable' });
  await reportIfDue({ ...made, edges: { ...edges, fetch: async () => new Response(answer) } }, never);
  assert.equal(made.reports.value.refusal, null);
});
