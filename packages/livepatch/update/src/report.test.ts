import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlannedCve } from './plan.ts';
import { type FixState, type ReportedFix, reportedCves } from './report.ts';

const cve = (files: string[], attribution: PlannedCve['attribution'] = 'files'): PlannedCve => ({
  id: 'CVE-2026-1',
  title: '',
  version: '1',
  attribution,
  files,
  unchanged: [],
  elsewhere: [],
});
const fix = (state: FixState, paths: string[], inPart: string[] = []): ReportedFix => ({
  id: paths[0] ?? '',
  state,
  paths,
  inPart,
  reasons: [],
});
const FIXES = [
  fix('livepatched', ['in.c', 'in.h', 'part.h'], ['part.h']),
  fix('waiting', ['waits.c']),
  fix('rejected', ['no.c']),
  fix('refused', ['refused.c']),
  fix('nothing-to-patch', ['init.c']),
];
const stateOf = (...files: string[]): string | undefined => reportedCves([cve(files)], FIXES)[0]?.state;

test('states a CVE livepatched only where every file of it is in the livepatch whole', () => {
  assert.equal(stateOf('in.c'), 'livepatched');
  assert.equal(stateOf('in.c', 'in.h', 'init.c'), 'livepatched');
  assert.equal(stateOf('in.c', 'part.h'), 'in-part');
  assert.equal(stateOf('in.c', 'waits.c'), 'waiting');
  assert.equal(stateOf('in.c', 'waits.c', 'no.c'), 'rejected');
  assert.equal(stateOf('in.c', 'no.c', 'refused.c'), 'refused');
  assert.equal(stateOf('in.c', 'never.c', 'refused.c'), 'not-tried');
  assert.equal(stateOf('init.c'), 'nothing-to-patch');
  assert.equal(stateOf(), 'not-tried');
});

test('claims nothing that the plan does not attribute by files', () => {
  assert.equal(reportedCves([cve(['in.c'], 'unchanged')], FIXES)[0]?.state, 'unchanged');
  assert.equal(reportedCves([cve([], 'no-record')], FIXES)[0]?.state, 'no-record');
});

test('takes a header that one fix has whole and another in part as whole', () => {
  const fixes = [...FIXES, fix('livepatched', ['b.c', 'part.h'])];
  assert.equal(reportedCves([cve(['part.h'])], fixes)[0]?.state, 'livepatched');
  assert.deepEqual(reportedCves([cve(['part.h'])], fixes)[0]?.fixes, ['in.c', 'b.c']);
});
