import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EnrolResponse } from '@kmend/protocol';
import { type ApiClient, createApiClient, readOperatorToken, startServer } from '@kmend/server';
import { factsOf } from './host.ts';
import { writeLivepatch } from './livepatch.ts';

/** Runs `kmend ARGV` with these variables, in whatever way its caller has of it. */
export type RunKmend<Said> = (env: Readonly<Record<string, string>>, ...argv: string[]) => Promise<Said>;

/** Cleans up at the end of a test. */
export interface Cleanup {
  after(work: () => Promise<void>): void;
}

export interface PatchServer<Said> {
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
  restart(meanwhile?: () => Promise<void>): Promise<PatchServer<Said>>;
}

/** A real patch server on loopback with a home of its own, for the commands that talk to one. */
export async function patchServer<Said>(t: Cleanup, runKmend: RunKmend<Said>): Promise<PatchServer<Said>> {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-server-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  return serve(t, home, runKmend);
}

async function serve<Said>(t: Cleanup, home: string, runKmend: RunKmend<Said>): Promise<PatchServer<Said>> {
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
    kmend: (...argv) => runKmend({ KMEND_HOME: home, KMEND_SERVER: server.url }, ...argv),
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
      return serve(t, home, runKmend);
    },
  };
}
