import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type UpdateReport, updateReportText } from './report.ts';

const REPORT: UpdateReport = {
  schema: 'kmend.update-report/1',
  kernel: { release: '6.1.0-47-amd64', buildId: 'a'.repeat(40) },
  suite: 'bookworm-security',
  from: '6.1.170-3',
  to: '6.1.176-1',
  uploads: [],
  files: { sources: { changed: 9, built: 5 }, headers: { changed: 2, built: 1 }, added: 0, tried: 4 },
  livepatch: { id: 'x', module: 'kmend_x', objects: 1, functions: 2, size: 300 },
  fixes: [
    { id: 'a.c', state: 'livepatched', paths: ['a.c'], inPart: [], reasons: [] },
    {
      id: 'b.c',
      state: 'waiting',
      paths: ['b.c', 'b.h'],
      inPart: [],
      key: 'f'.repeat(64),
      reasons: [{ code: 'set-split', message: 'read\nthis' }],
    },
    {
      id: 'c.c',
      state: 'refused',
      paths: ['c.c'],
      inPart: [],
      reasons: [{ code: 'data-changed', message: 'm'.repeat(1000) }],
    },
  ],
  cves: [
    {
      id: 'CVE-2026-1',
      title: 'one',
      version: '1',
      attribution: 'files',
      files: ['a.c'],
      unchanged: [],
      elsewhere: [],
      state: 'livepatched',
      fixes: ['a.c'],
    },
    {
      id: 'CVE-2026-2',
      title: 'two',
      version: '1',
      attribution: 'no-record',
      files: [],
      unchanged: [],
      elsewhere: [],
      state: 'no-record',
      fixes: [],
    },
  ],
  reverts: [{ title: 'old', version: '2', within: false }],
  records: { used: 1 },
};

test('says in a report what became of fixes and CVEs, and what a person must do', () => {
  const text = updateReportText(REPORT);
  for (const part of [
    '| 1 | livepatched | in the livepatch |',
    '- b.c (2 files) `ffffffffffff`: [set-split] read this\n',
    '- CVE-2026-1, livepatched: one (a.c)',
    '| 1 | no-record |',
    '- 2: old',
    'replaces 2 functions in 1 objects',
  ])
    assert.ok(text.includes(part), part);
  // Long reasons are cut; those without a record are counted only.
  assert.ok(text.split('\n').every((line) => line.length < 400));
  assert.ok(!text.includes('CVE-2026-2'));
  assert.match(updateReportText({ ...REPORT, livepatch: null }), /There is no livepatch/);
});
