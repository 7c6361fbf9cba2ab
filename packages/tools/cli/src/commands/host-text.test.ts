import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostDetail, HostTrouble } from '@kmend/protocol';
import { hostRow, hostText } from './host-text.ts';

const none: HostTrouble = { reason: null, problem: null, hold: null, quarantined: [], blockers: [] };

function host(trouble: HostTrouble | null, more: Partial<HostDetail> = {}): HostDetail {
  const axis = { since: null, seen: '2026-11-02T00:00:00Z' };
  return {
    id: '00000000-0000-4000-8000-000000000001',
    hostname: 'web-1',
    release: '6.1.0-47-amd64',
    buildId: 'ab'.repeat(20),
    channel: 'stable',
    status: {
      contact: { ...axis, state: 'ok' },
      coverage: { ...axis, state: 'behind' },
      loaded: { ...axis, state: 'none' },
      transition: { ...axis, state: 'none' },
      verified: { ...axis, state: 'none' },
    },
    effectiveSerial: null,
    enrolled: '2026-11-01T00:00:00Z',
    lastReport: '2026-11-02T00:00:00Z',
    facts: {
      hostname: 'web-1',
      machineArch: 'x86_64',
      osRelease: 'Debian GNU/Linux 12 (bookworm)',
      kernel: { release: '6.1.0-47-amd64', buildId: 'ab'.repeat(20), version: '#1 SMP' },
      bootId: '00000000-0000-4000-8000-000000000002',
      bootedAt: '2026-11-01T00:00:00Z',
      agentVersion: '0.1.0',
      hardwareFlaws: [],
      microcode: null,
    },
    livepatches: [],
    trouble,
    stack: null,
    events: [],
    ...more,
  };
}

/** The lines between the status and what is loaded. */
function why(shown: HostDetail): string[] {
  const lines = hostText(shown).split('\n');
  return lines.slice(lines.findIndex((line) => line.includes('verified')) + 1, lines.indexOf('loaded'));
}

test('shows every obstacle in words, with its code and what to do', () => {
  const trouble: HostTrouble = {
    reason: 'quarantined',
    problem: { code: 'memory-low', message: '12 MB are free, 40 are needed', hint: 'free some memory' },
    hold: 'until the audit is over',
    quarantined: [{ serial: 7, code: 'kernel-complaint', reason: 'the kernel warned' }],
    blockers: [
      { pid: 812, tid: 813, name: 'postgres', stack: ['do_select', 'core_sys_select', 'kern_select'] },
      { pid: 9, tid: 9, name: 'kworker/0:1', stack: [] },
    ],
  };
  assert.deepEqual(why(host(trouble)), [
    'no livepatch in force, because',
    '  reason      the policy’s livepatch is quarantined on it; kmend-agent resume on the host retries it [quarantined]',
    '  problem     12 MB are free, 40 are needed [memory-low]',
    '              free some memory',
    '  held        until the audit is over',
    '  quarantined serial 7: the kernel warned [kernel-complaint]',
    '  task        postgres (pid 812, thread 813) has not moved to the new code',
    '              in do_select < core_sys_select < kern_select',
    '  task        kworker/0:1 (pid 9) has not moved to the new code',
  ]);
  assert.equal(why(host({ ...none, reason: 'halted' }, { effectiveSerial: 3 }))[0], 'obstacles');
});

test('has words for each reason of the agent, and shows an unknown reason as it is', () => {
  for (const reason of ['not-covered', 'nothing-chosen', 'newer-loaded', 'busy', 'halted', 'held', 'quarantined']) {
    assert.match(why(host({ ...none, reason }))[1] ?? '', new RegExp(` reason {6}\\w.+ \\[${reason}\\]$`));
  }
  assert.equal(why(host({ ...none, reason: 'moon-phase' }))[1], '  reason      [moon-phase]');
  assert.equal(why(host({ ...none, reason: 'constructor' }))[1], '  reason      [constructor]');
});

test('explains a host without a livepatch that reports nothing, and says nothing about one that is fine', () => {
  assert.match(why(host(null, { lastReport: null }))[1] ?? '', /never reported/);
  assert.match(why(host(null))[1] ?? '', /kmend-agent doctor/);
  assert.match(why(host(none))[1] ?? '', /no obstacle/);
  assert.deepEqual(why(host({ ...none, reason: 'up-to-date' }, { effectiveSerial: 3 })), []);
  assert.deepEqual(why(host(null, { effectiveSerial: 3 })), []);
});

test('cuts many tasks and deep stacks, and says so', () => {
  const stack = Array.from({ length: 30 }, (_, n) => `f${n}`);
  const blockers = Array.from({ length: 14 }, (_, n) => ({ pid: n, tid: n, name: 'task', stack }));
  const lines = why(host({ ...none, blockers }));
  assert.equal(lines.filter((line) => line.startsWith('  task')).length, 10);
  assert.match(lines.at(-1) ?? '', /and 4 more tasks/);
  assert.match(lines[2] ?? '', / in f0 < .* < f7 < \.\.\.$/);
});

test('cleans escape sequences in names of tasks and hosts', () => {
  const evil = '\x1b[2Jok\nloaded\u009b';
  const trouble = {
    ...none,
    reason: evil,
    problem: { code: evil, message: evil, hint: evil },
    hold: evil,
    quarantined: [{ serial: 1, code: evil, reason: evil }],
    blockers: [{ pid: 1, tid: 1, name: evil, stack: [evil] }],
  };
  const event = { at: '2026-11-02T00:00:00Z', code: evil, message: evil };
  const shown = host(trouble, { hostname: evil, events: [event] });
  shown.status.contact.detail = evil;
  for (const text of [...hostText(shown).split('\n'), ...hostRow(shown)]) assert.doesNotMatch(text, /\p{Cc}/u);
  assert.equal(hostText(shown).match(/^loaded$/gm)?.length, 1);
});

test('shows who drives a host with packages, the depth and what is in force', () => {
  const livepatch = { module: 'kmend_0123456789ab', package: 'livepatch-1', fixes: ['CVE-2026-1'], inForce: true };
  const lines = why(
    host(
      { ...none, reason: 'conflict-packages' },
      {
        stack: {
          strategy: 'temporary',
          depth: 9,
          functionsCoveredSeveralTimes: 2,
          memoryBytes: 1,
          outcome: { code: 'in-force', text: 'everything \u001b[31m is in force' },
          exitCode: 0,
          warning: 'the stack is 9 livepatches deep',
          livepatches: [livepatch],
        },
      },
    ),
  ).join('\n');
  assert.match(lines, /strategy +temporary: its packages drive it\n +depth +9, 2 functions covered several times/);
  assert.match(
    lines,
    /WARNING +the stack is 9 livepatches deep\n +in force +kmend_0123456789ab \(livepatch-1\): CVE-2026-1/,
  );
  assert.match(lines, /obstacles\n +reason +its packages drive it.*\[conflict-packages\]/);
  assert.doesNotMatch(lines, /no livepatch in force/);
  assert.ok(!lines.includes('\u001b'));
});

test('shows a host whose kernel needs no livepatch as fine', () => {
  const fine = host({ ...none, reason: 'none-needed' }, { noneNeeded: true });
  assert.equal(why(fine)[0], 'no livepatch needed');
  assert.ok(hostRow(fine).includes('not needed'));
  assert.ok(hostRow({ ...fine, presence: 'silent' }).includes('silent'));
});
