import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Report } from '@kmend/protocol';
import fc from 'fast-check';
import { exampleReport } from '../testing/world.ts';
import { carriedAt, judgeReport, type KnownReport, reportDigest, type WaitingReport } from './ingest.ts';

const fresh: KnownReport = { sequence: 0, digest: null, reportAt: null, bootId: exampleReport(1).facts.bootId };

/** What the store has after a report was judged to be news. */
function after(report: Report): KnownReport {
  return {
    sequence: report.sequence,
    digest: reportDigest(report),
    reportAt: report.at,
    bootId: report.facts.bootId,
  };
}

const at = (report: Report, minute: number): Report => ({
  ...report,
  at: new Date(Date.UTC(2026, 10, 1, 0, minute)).toISOString(),
});

test('takes the first report with any number up to the bound', () => {
  assert.equal(judgeReport(fresh, undefined, exampleReport(7000)).kind, 'news');
  assert.equal(judgeReport(fresh, undefined, exampleReport(2 ** 31)).kind, 'news');
  assert.equal(judgeReport(fresh, undefined, exampleReport(2 ** 31 + 1)).kind, 'number-jumps');
});

test('refuses a number far above the newest, also above one that waits to be stored', () => {
  const known = after(exampleReport(10));
  assert.equal(judgeReport(known, undefined, exampleReport(100_010)).kind, 'same');
  assert.deepEqual(judgeReport(known, undefined, exampleReport(100_011)), { kind: 'number-jumps', newest: 10 });
  const waiting: WaitingReport = { sequence: 11, reportAt: null };
  assert.equal(judgeReport(known, waiting, exampleReport(100_011)).kind, 'same');
});

test('refuses to go back to a report older than the newest', () => {
  const known = after(exampleReport(10));
  assert.deepEqual(judgeReport(known, undefined, exampleReport(9, { effectiveSerial: 99 })), {
    kind: 'known',
    newest: 10,
  });
  assert.deepEqual(judgeReport(known, { sequence: 12, reportAt: null }, exampleReport(11)), {
    kind: 'known',
    newest: 12,
  });
});

test('distinguishes a repeated report from another one with the same number', () => {
  const report = at(exampleReport(10), 0);
  const known = after(report);
  assert.equal(judgeReport(known, undefined, report).kind, 'known');
  assert.equal(judgeReport(known, undefined, at({ ...report, effectiveSerial: 99 }, 1)).kind, 'number-used');
  const event = { at: report.at, code: 'loaded', message: 'x' };
  assert.equal(judgeReport(known, undefined, at({ ...report, events: [event] }, 1)).kind, 'number-used');
  assert.equal(judgeReport(known, undefined, at(report, 1)).kind, 'same');
  // Of another boot: a machine that was set back to a snapshot, or a clone.
  const bootId = '11111111-2222-4333-8444-555555555555';
  const elsewhere = at({ ...report, facts: { ...report.facts, bootId } }, 1);
  assert.equal(judgeReport(known, undefined, elsewhere).kind, 'news');
});

test('distinguishes a report without changes from one with changes', () => {
  const known = after(exampleReport(10));
  assert.deepEqual(judgeReport(known, undefined, exampleReport(11)), { kind: 'same', newest: 11 });
  const news = exampleReport(11, { effectiveSerial: 99 });
  assert.deepEqual(judgeReport(known, undefined, news), { kind: 'news', newest: 11, digest: reportDigest(news) });
});

test('never lowers the newest number and ignores repetitions, in any order of arrival', () => {
  const one = fc.record({
    sequence: fc.integer({ min: 1, max: 12 }),
    serial: fc.nat(2),
    minute: fc.nat(5),
    boot: fc.nat(1),
  });
  const reportOf = ({
    sequence,
    serial,
    minute,
    boot,
  }: {
    sequence: number;
    serial: number;
    minute: number;
    boot: number;
  }) => {
    const report = at(exampleReport(sequence, { effectiveSerial: serial + 1 }), minute);
    const bootId = `0000000${boot}-0000-4000-8000-000000000000`;
    return { ...report, facts: { ...report.facts, bootId } };
  };
  fc.assert(
    fc.property(fc.array(one, { maxLength: 20 }), (all) => {
      let known = fresh;
      let waiting: WaitingReport | undefined;
      let newest = 0;
      for (const report of all.map(reportOf)) {
        const verdict = judgeReport(known, waiting, report);
        assert.ok(verdict.newest >= newest, `${verdict.newest} after ${newest}`);
        newest = verdict.newest;
        if (verdict.kind === 'news') known = after(report);
        if (verdict.kind === 'news') waiting = undefined;
        if (verdict.kind === 'same') waiting = { sequence: report.sequence, reportAt: report.at };
        if (verdict.kind === 'news' || verdict.kind === 'same') {
          const again = judgeReport(known, waiting, report).kind;
          // A boot that came back is judged by what the store has of the other one.
          assert.ok(again === 'known' || report.facts.bootId !== known.bootId, again);
        }
      }
    }),
    { seed: 17, numRuns: 500 },
  );
});

test('dates a carried report to when the host wrote it, never to the future', () => {
  const now = new Date('2026-11-02T00:00:00Z');
  assert.equal(carriedAt(at(exampleReport(1), 5), now), '2026-11-01T00:05:00.000Z');
  assert.equal(carriedAt({ ...exampleReport(1), at: '2030-01-01T00:00:00Z' }, now), now.toISOString());
});
