import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EnrolResponse, type HostFacts, type Report } from '@kmend/protocol';
import { type ApiClient, createApiClient, readOperatorToken, startServer } from '@kmend/server';
import type { Register } from '../program.ts';
import { BUILD_ID, writeLivepatch } from './livepatch.ts';
import { runKmend, type Said } from './run.ts';

export interface PatchServer {
  readonly home: string;
  readonly url: string;
  readonly api: ApiClient;
  /** Runs `kmend` against it. */
  kmend(...argv: string[]): Promise<Said>;
  /** Enrols a host and returns its id. */
  enrol(hostname: string): Promise<string>;
  /** Publishes livepatch `n` as the channel's settled one; `keys`: with the release key of another folder. */
  publish(n: number, keys?: string): Promise<void>;
  /** Stops the server and starts it again on what its folder holds then. */
  restart(meanwhile?: () => Promise<void>): Promise<PatchServer>;
}

/** A real patch server on loopback with a home of its own, for the commands that talk to one. */
export async function patchServer(
  t: { after(work: () => Promise<void>): void },
  commands: readonly Register[],
): Promise<PatchServer> {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-server-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  return serve(t, home, commands);
}

async function serve(
  t: { after(work: () => Promise<void>): void },
  home: string,
  commands: readonly Register[],
): Promise<PatchServer> {
  const server = await startServer({
    dataDir: join(home, 'server'),
    initialize: { offlineKeys: join(home, 'keys') },
    host: '127.0.0.1',
    port: 0,
    logLevel: 'error',
  });
  t.after(() => server.close());
  const token = await readOperatorToken({ env: {}, file: server.tokenPath });
  const api = createApiClient({ url: server.url, token, signal: new AbortController().signal });
  return {
    home,
    url: server.url,
    api,
    kmend: (...argv) => runKmend(commands, { KMEND_HOME: home, KMEND_SERVER: server.url }, ...argv),
    async enrol(hostname) {
      const { key } = await api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
      const answer = await fetch(`${server.url}/v1/enrol`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ activationKey: key, facts: factsOf(hostname) }),
      });
      assert.equal(answer.status, 201);
      return EnrolResponse.parse(await answer.json()).hostId;
    },
    async publish(n, keys = join(home, 'keys')) {
      const livepatch = join(home, `livepatch-${n}`);
      await writeLivepatch(livepatch, n);
      await api.publish({ livepatch, channel: 'stable', keys, unproven: true });
    },
    async restart(meanwhile) {
      await server.close();
      await meanwhile?.();
      return serve(t, home, commands);
    },
  };
}

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
