import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HostEvent, MAX_REPORT } from '@kmend/protocol';
import { makeFetcher, makeHost } from '../testing/host.ts';
import { fitReport } from './fit-report.ts';
import { whatToTell } from './report.ts';

const size = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));
const event = (n: number): HostEvent => ({
  at: '2026-11-02T00:00:00Z',
  code: 'x',
  message: `${n} ${'\u6771'.repeat(1990)}`,
});

test('cuts a report to the server’s limits and keeps the order of events', async (t) => {
  const { content } = await whatToTell(await makeFetcher(await makeHost(t)));
  assert.equal(fitReport(content), content, 'as it is where it fits');
  const events = Array.from({ length: 200 }, (_, n) => event(n));
  const few = fitReport({ ...content, events });
  assert.ok(few.events.length > 10 && few.events.length < 200);
  assert.deepEqual(few.events, events.slice(0, few.events.length));

  const objects = Array.from({ length: 2000 }, (_, n) => ({ name: `module_with_a_long_name_${n}`, patched: true }));
  const livepatch = { name: 'kmend_000000000001', enabled: true, transition: false, serial: 1, objects };
  const blockers = Array.from({ length: 32 }, (_, n) => ({
    pid: n,
    tid: n,
    name: 'task',
    stack: Array(64).fill('f'.repeat(512)),
  }));
  const quarantined = Array.from({ length: 100 }, (_, n) => ({
    serial: n + 1,
    code: 'x',
    reason: '\u6771'.repeat(2000),
  }));
  const trouble = { reason: null, problem: null, hold: null, quarantined, blockers };
  const large = { ...content, events, livepatches: Array(64).fill(livepatch), trouble };
  const fit = fitReport(large);
  assert.ok(size(large) > 4 * MAX_REPORT && size(fit) < MAX_REPORT, `${size(fit)} bytes`);
  assert.ok((fit.trouble?.blockers.length ?? 0) > 0);
});
