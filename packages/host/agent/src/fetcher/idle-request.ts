import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { useProxy } from '../edges/proxy.ts';
import type { IdleState } from './idle-state.ts';
import { asksForPause, retryAfterMs } from './retry-after.ts';

const TIMEOUT_MS = 15_000;

export interface IdleAnswer {
  /** The repository says that its timestamp.json is the one that is held. */
  readonly current: boolean;
  /** It asked for a pause (Retry-After) instead; milliseconds. */
  readonly pauseMs: number | undefined;
}

export async function stillCurrent(state: IdleState): Promise<boolean> {
  return (await askRepository(state)).current;
}

/**
 * One conditional GET of timestamp.json. Anything but 304 or a pause, an error too, is for the full turn to look at.
 * Node's own client, which starts in half the time of `fetch`.
 */
export async function askRepository({ url, etag, proxy, caFile }: IdleState): Promise<IdleAnswer> {
  const secure = url.startsWith('https:');
  useProxy(proxy);
  const headers = { 'if-none-match': etag, 'user-agent': 'kmend', accept: '*/*' };
  const ca = secure ? await authorities(caFile) : undefined;
  const client = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  return await new Promise((resolve) => {
    const request = client.get(url, { headers, timeout: TIMEOUT_MS, ...(ca === undefined ? {} : { ca }) });
    const done = (response?: IncomingMessage): void => {
      clearTimeout(timer);
      const asked = asksForPause(response?.statusCode) ? response?.headers['retry-after'] : undefined;
      resolve({ current: response?.statusCode === 304, pauseMs: retryAfterMs(asked, Date.now()) });
      request.destroy();
    };
    const timer = setTimeout(() => done(), TIMEOUT_MS);
    request.on('response', done).on('error', () => done());
  });
}

/**
 * What Node brings, and the owner's own authority. A host that trusts only through its system's store asks in the full
 * turn.
 */
async function authorities(caFile: string | null): Promise<string[] | undefined> {
  const tls = process.getBuiltinModule('node:tls');
  const bundled = tls.getCACertificates('bundled');
  const system = await readFile('/etc/ssl/certs/ca-certificates.crt', 'utf8').catch(() => undefined);
  const own = caFile === null ? undefined : await readFile(caFile, 'utf8').catch(() => undefined);
  return [...(system === undefined ? bundled : [system]), ...(own === undefined ? [] : [own])];
}
