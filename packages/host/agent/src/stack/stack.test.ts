import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LivepatchMeasure, LivepatchStatus } from '@kmend/protocol';
import { type Attempt, emptyJournal } from '../state/journal.ts';
import { code } from '../testing/errors.ts';
import { TestKernel } from '../testing/kernel.ts';
import { measurePackages, PROGRAM, readPackages } from './program.ts';
import { packagesDrive, stackOf } from './stack.ts';

const livepatch: LivepatchStatus['inForce'][number] = {
  module: 'kmend_0123456789ab',
  package: 'livepatch-1',
  version: '1',
  kind: 'stacked',
  position: 1,
  phase: 'good',
  installed: true,
  transitionSeconds: 0.5,
  fixes: [{ id: 'CVE-2026-1', title: 'a fix' }],
};
const installed: LivepatchStatus['installed'][number] = {
  module: 'kmend_0123456789ab',
  package: 'livepatch-1',
  version: '1',
  kind: 'stacked',
  position: 1,
  inForce: true,
  code: null,
};

function statusWith(values: Partial<LivepatchStatus>): LivepatchStatus {
  return LivepatchStatus.parse({
    ...{ schema: 'kmend.livepatch-status/1', release: '6.1.0-47-amd64', buildId: 'ab'.repeat(20) },
    ...{ outcome: null, hold: null, yielded: false, switchedOff: null, saved: true, inForce: [], installed: [] },
    ...{ unusable: [], otherKernels: 0, problems: [], warnings: [], quarantined: [], kernelLog: [], exitCode: 3 },
    ...values,
  });
}

function measureOf(depth: number, functionsCoveredSeveralTimes: number): LivepatchMeasure {
  return LivepatchMeasure.parse({
    ...{ schema: 'kmend.livepatch-measure/1', depth, functions: 9, functionsCoveredSeveralTimes },
    ...{ memoryBytes: 4096, livepatches: [] },
  });
}

const attempt: Attempt = {
  buildId: 'ab'.repeat(20),
  serial: 1,
  id: '000000000001',
  module: 'kmend_000000000001',
  phase: 'good',
  bootId: 'd94b1c6a-6d9f-4b0e-8c39-0b8b1a2f6f11',
  origin: 'check',
  began: '2026-11-01T00:00:00Z',
  since: '2026-11-01T00:00:00Z',
  sinceUptime: 1,
  sha256: null,
  logFrom: 0,
  stuck: false,
  cleanShutdown: false,
  failure: null,
};

test('derives who drives from the packages’ state and the agent’s livepatch', () => {
  const agents = { ...emptyJournal, current: attempt };
  const given = { ...emptyJournal, handedOver: '2026-11-01T00:00:00Z' };
  const has = { inForce: [livepatch], installed: [installed] };
  const drives: Record<string, boolean> = {
    'no loader': packagesDrive(undefined, given),
    'nothing installed': packagesDrive(statusWith({}), emptyJournal),
    'nothing installed, given to them': packagesDrive(statusWith({}), given),
    'in force': packagesDrive(statusWith(has), emptyJournal),
    'in force, yielded': packagesDrive(statusWith({ ...has, yielded: true }), given),
    'installed, not in force yet': packagesDrive(statusWith({ installed: [installed] }), emptyJournal),
    'installed, and the agent has one in force': packagesDrive(statusWith({ installed: [installed] }), agents),
    'installed, and the agent’s failed': packagesDrive(statusWith({ installed: [installed] }), {
      ...agents,
      current: { ...attempt, phase: 'failed' },
    }),
  };
  assert.deepEqual(
    Object.keys(drives).filter((it) => drives[it]),
    [
      'nothing installed, given to them',
      'in force',
      'installed, not in force yet',
      'installed, and the agent’s failed',
    ],
  );
});

test('warns of a deep stack, with the command to use', () => {
  const warning = (code: string): string | null =>
    stackOf(
      statusWith({ inForce: [livepatch], warnings: [{ code, text: '21 are stacked', hint: '' }] }),
      measureOf(1, 0),
      emptyJournal,
    ).warning;
  assert.equal(warning('another'), null);
  assert.equal(warning('stack-deep'), '21 are stacked: kmend-agent consolidate makes it one livepatch');
});

test('reports invalid, oversized or late documents of the packages', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const edges = kernel.edges();
  assert.equal(await readPackages(edges), undefined);
  await kernel.write(PROGRAM, '');
  const answers: Record<string, readonly [number, string, string?]> = {
    'state-damaged': [5, '', 'kmend-livepatch: the state cannot be read (state-damaged)\n'],
    schema: [0, '{"schema":"kmend.livepatch-status/2"}'],
    'it printed nothing': [0, ''],
  };
  for (const [words, answer] of Object.entries(answers)) {
    kernel.programs.set(PROGRAM, async () => answer);
    await assert.rejects(readPackages(edges), (error: Error) => {
      assert.match(error.message, new RegExp(words));
      return code('packages-unreadable')(error);
    });
  }
  const late = { ...edges, run: () => Promise.reject(new Error('did not end within 30 s')) };
  await assert.rejects(measurePackages(late), code('packages-unreadable'));
});
