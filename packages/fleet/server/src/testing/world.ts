import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostFacts, HostStack, HostTrouble, Report } from '@kmend/protocol';
import { BUILD_ID, exampleManifest, exampleModule, writeBuild } from '@kmend/trust/testing';
import { type ApiClient, createApiClient } from '../client/api-client.ts';
import { type RunningServer, type ServerOptions, startServer } from '../server.ts';

export { BUILD_ID };

export interface TestServer {
  readonly server: RunningServer;
  readonly api: ApiClient;
  readonly token: string;
  /** Log lines so far, as text. */
  log(): string;
  path(...parts: string[]): string;
  /** Stops the server and starts it again on the same data. */
  restart(more?: Partial<ServerOptions>): Promise<TestServer>;
}

export interface Cleanup {
  after(work: () => Promise<void>): void;
}

/** A real server on loopback with a fresh data directory. */
export async function testServer(t: Cleanup, more: Partial<ServerOptions> = {}): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-server-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return start(t, directory, more);
}

async function start(t: Cleanup, directory: string, more: Partial<ServerOptions>): Promise<TestServer> {
  const path = (...parts: string[]): string => join(directory, ...parts);
  let log = '';
  const server = await startServer({
    dataDir: path('data'),
    initialize: { offlineKeys: path('keys') },
    host: '127.0.0.1',
    port: 0,
    logStream: {
      write(line) {
        log += line;
      },
    },
    ...more,
  });
  t.after(() => server.close());
  const token = (await readFile(server.tokenPath, 'utf8')).trim();
  const api = createApiClient({ url: server.url, token, signal: new AbortController().signal });
  return {
    server,
    api,
    token,
    log: () => log,
    path,
    async restart(again = more) {
      await server.close();
      return start(t, directory, again);
    },
  };
}

export function exampleFacts(hostname = 'web-1'): HostFacts {
  return {
    hostname,
    machineArch: 'x86_64',
    osRelease: 'Debian GNU/Linux 12 (bookworm)',
    kernel: { release: '6.1.0-47-amd64', buildId: BUILD_ID, version: '#1 SMP' },
    bootId: '00000000-0000-4000-8000-000000000001',
    bootedAt: '2026-11-01T00:00:00Z',
    agentVersion: '0.1.0',
    hardwareFlaws: [{ name: 'spectre_v1', state: 'Mitigation: usercopy' }],
    microcode: null,
  };
}

export function exampleReport(sequence: number, more: Partial<Report> = {}): Report {
  const axis = { since: null, seen: '2026-11-02T00:00:00Z' };
  return {
    schema: 'kmend.report/1',
    at: '2026-11-02T00:00:00Z',
    sequence,
    channel: 'stable',
    facts: exampleFacts(),
    status: {
      contact: { ...axis, state: 'ok' },
      coverage: { ...axis, state: 'current' },
      loaded: { ...axis, state: 'loaded' },
      transition: { ...axis, state: 'complete' },
      verified: { ...axis, state: 'verified' },
    },
    livepatches: [],
    effectiveSerial: 1,
    events: [],
    ...more,
  };
}

/** Everything that can be in a host's way at once. */
export const exampleStack: HostStack = {
  strategy: 'temporary',
  depth: 9,
  functionsCoveredSeveralTimes: 2,
  memoryBytes: 81_920,
  outcome: { code: 'in-force', text: 'everything that is installed for this kernel is in force' },
  exitCode: 0,
  warning: 'the stack is 9 livepatches deep',
  livepatches: [{ module: 'kmend_0123456789ab', package: 'livepatch-1', fixes: ['CVE-2026-1'], inForce: true }],
};

export const exampleTrouble: HostTrouble = {
  reason: 'quarantined',
  problem: { code: 'memory-low', message: 'not enough memory', hint: 'free some' },
  hold: 'until the audit is over',
  quarantined: [{ serial: 7, code: 'kernel-complaint', reason: 'the kernel warned' }],
  blockers: [{ pid: 812, tid: 813, name: 'postgres', stack: ['do_select', 'core_sys_select'] }],
};

/** Writes what `kmend build --out` would. */
export async function writeArtifact(directory: string, n: number): Promise<string> {
  await writeBuild(directory, exampleManifest(n), exampleModule(`livepatch ${n}`).module);
  return directory;
}

/** Makes, signs and publishes livepatch `n` through the API. */
export async function publish({ api, path }: TestServer, n: number) {
  const livepatch = await writeArtifact(path(`artifact-${n}`), n);
  return api.publish({ livepatch, channel: 'stable', keys: path('keys'), unproven: true });
}
