import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostFacts } from './host.ts';

/** Of an agent that tells neither machine nor pending kernel. */
const facts = {
  hostname: 'web-1',
  machineArch: 'x86_64',
  osRelease: 'Debian GNU/Linux 12',
  kernel: { release: '6.1.0-47-amd64', buildId: 'ab'.repeat(20), version: '#1 SMP' },
  bootId: '0a4f6a7e-1111-4222-8333-444455556666',
  bootedAt: '2026-11-01T00:00:00Z',
  agentVersion: '0.1.0',
  hardwareFlaws: [],
  microcode: null,
};

test('accepts facts of an older agent and of a host without a machine-id', () => {
  assert.equal(HostFacts.parse(facts).machineId, undefined);
  assert.equal(HostFacts.parse({ ...facts, machineId: null, pendingKernel: null }).pendingKernel, null);
});

test('reports the pending kernel by release and the machine only by a hash', () => {
  const pendingKernel = { release: '6.1.0-48-amd64', buildId: null, serial: null };
  assert.deepEqual(HostFacts.parse({ ...facts, pendingKernel }).pendingKernel, pendingKernel);
  const raw = '0123456789abcdef0123456789abcdef';
  assert.equal(HostFacts.safeParse({ ...facts, machineId: raw }).success, false, 'the id itself is no hash');
});

test('normalises a host name that is unprintable or too long', () => {
  const name = (hostname: string): string => HostFacts.parse({ ...facts, hostname }).hostname;
  assert.equal(name('web-1.example.org'), 'web-1.example.org');
  assert.equal(name('büro-東京'), 'büro-東京');
  assert.equal(name('bu\u0308ro'), 'büro', 'what looks equal is equal');
  assert.equal(name('a\x1b[2J\u202eb\nc\0'), 'a\u{fffd}[2J\u{fffd}b\u{fffd}c\u{fffd}');
  assert.equal(name('  '), '(none)');
  for (const long of ['東'.repeat(253), '🙂'.repeat(126), '\ud800'.repeat(253)]) {
    const fit = name(long);
    assert.ok(new TextEncoder().encode(fit).length <= 253, `${fit.length} characters`);
    assert.equal(name(fit), fit);
  }
  assert.equal(HostFacts.safeParse({ ...facts, hostname: 'x'.repeat(254) }).success, false);
});
