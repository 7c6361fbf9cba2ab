import type { HostFacts, Report } from '@kmend/protocol';
import { BUILD_ID } from './livepatch.ts';

/** The facts of a host that enrols. */
export function factsOf(hostname: string): HostFacts {
  return {
    hostname,
    machineArch: 'x86_64',
    osRelease: 'Debian GNU/Linux 12 (bookworm)',
    kernel: { release: '6.1.0-47-amd64', buildId: BUILD_ID, version: '#1 SMP' },
    bootId: '00000000-0000-4000-8000-000000000002',
    bootedAt: '2026-11-01T00:00:00Z',
    agentVersion: '0.1.0',
    hardwareFlaws: [],
    microcode: null,
  };
}

/** A report of a host that has no livepatch and says why. */
export function reportOf(hostname: string, sequence: number, more: Partial<Report> = {}): Report {
  const axis = { since: null, seen: '2026-11-02T00:00:00Z' };
  return {
    schema: 'kmend.report/1',
    at: '2026-11-02T00:00:00Z',
    sequence,
    channel: 'stable',
    facts: factsOf(hostname),
    status: {
      contact: { ...axis, state: 'ok' },
      coverage: { ...axis, state: 'behind' },
      loaded: { ...axis, state: 'none' },
      transition: { ...axis, state: 'none' },
      verified: { ...axis, state: 'none' },
    },
    livepatches: [],
    effectiveSerial: null,
    trouble: { reason: 'halted', problem: null, hold: null, quarantined: [], blockers: [] },
    events: [],
    ...more,
  };
}
