import { randomBytes } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fetcher } from 'tuf-js';
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { TrustError } from '../error.ts';
import { type Answer, get, type TransferEdges } from './transfer.ts';

const ROOT_FILE = /\/(\d+)\.root\.json$/;

/** What tuf-js downloads through: bounded, cancellable, and it remembers why a transfer failed, which tuf-js does not. */
export class RepositoryFetcher implements Fetcher {
  readonly #edges: TransferEdges;
  readonly #temporary: string;
  /** Of the operation in progress; operations of a client follow one another. */
  signal: AbortSignal = AbortSignal.abort();
  /** While true every request fails: the cache alone has to do. */
  offline = false;
  /** Why the last transfer failed. */
  failure: unknown;
  /** Root files downloaded, by version: candidates for the chain. */
  readonly roots = new Map<number, Buffer>();
  /** What the last request for timestamp.json brought. */
  timestamp: { readonly bytes: Buffer; readonly etag: string | undefined } | undefined;
  readonly #ready = new Map<string, Buffer>();

  constructor(edges: TransferEdges, temporary: string) {
    this.#edges = edges;
    this.#temporary = temporary;
  }

  /** Answers the next request for timestamp.json with these bytes: a check has just downloaded them. */
  prime(url: string, bytes: Buffer, etag: string | undefined): void {
    this.#ready.set(url, bytes);
    this.timestamp = { bytes, etag };
  }

  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const ready = this.#ready.get(url);
    if (ready !== undefined) {
      this.#ready.delete(url);
      return ready;
    }
    return this.#recorded(async () => {
      const answer = await this.#get(url, maxLength);
      const bytes = await readAll(answer);
      if (url.endsWith('/timestamp.json')) this.timestamp = { bytes, etag: answer.etag };
      const version = ROOT_FILE.exec(url)?.[1];
      if (version !== undefined) this.roots.set(Number(version), bytes);
      return bytes;
    });
  }

  async downloadFile<T>(url: string, maxLength: number, handler: (file: string) => Promise<T>): Promise<T> {
    const path = join(this.#temporary, `download-${randomBytes(6).toString('hex')}`);
    try {
      await this.#recorded(async () => {
        const answer = await this.#get(url, maxLength);
        await mkdir(this.#temporary, { recursive: true });
        const handle = await open(path, 'wx', 0o600);
        try {
          for await (const chunk of answer.body) await handle.writeFile(chunk);
        } finally {
          await handle.close();
          await answer.discard();
        }
      });
      return await handler(path);
    } finally {
      await rm(path, { force: true });
    }
  }

  async #get(url: string, maxLength: number): Promise<Answer> {
    if (this.offline) throw new TrustError('not-cached', `${url} is not in the cache`);
    const answer = await get(this.#edges, url, maxLength, this.signal);
    if (answer.status === 200) return answer;
    await answer.discard();
    throw statusFailure(url, answer.status);
  }

  async #recorded<T>(work: () => Promise<T>): Promise<T> {
    this.failure = undefined;
    try {
      return await work();
    } catch (error) {
      // How a client learns that it has the newest root (specification 1.0.34, section 5.3.3); tuf-js wants its own class.
      if (error instanceof TrustError && error.code === 'not-found' && isRoot(error.details)) {
        throw new DownloadHTTPError('no newer root', 404);
      }
      this.failure = error;
      throw error;
    }
  }
}

function isRoot(details: TrustError['details']): boolean {
  return typeof details?.['url'] === 'string' && ROOT_FILE.test(details['url']);
}

export async function readAll(answer: Answer): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function statusFailure(url: string, status: number): TrustError {
  if (status === 404 || status === 410) {
    return new TrustError('not-found', `the repository has no ${url}`, {
      hint: 'check the repository’s URL; a mirror may have been copied only in part',
      details: { url, status },
    });
  }
  return new TrustError('repository-unreachable', `${url} answers with HTTP status ${status}`, {
    hint: 'look at the patch server’s log, and at proxies on the way',
    details: { url, status },
  });
}
