import { diskFault } from '@kmend/base';
import type { Fetcher } from 'tuf-js';
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { failureKind, TrustError } from '../error.ts';
import type { PartialDownload, PartialDownloads } from './partial.ts';
import { resumeDownload } from './resume.ts';
import { statusFailure } from './status.ts';
import { type Answer, get, type TransferEdges } from './transfer.ts';

const ROOT_FILE = /\/(\d+)\.root\.json$/;

/**
 * What tuf-js downloads through: bounded, cancellable, and it remembers why a transfer failed, which tuf-js does not.
 */
export class RepositoryFetcher implements Fetcher {
  readonly #edges: TransferEdges;
  readonly #partials: PartialDownloads;
  readonly #targetsUrl: string;
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

  constructor(edges: TransferEdges, partials: PartialDownloads, targetsUrl: string) {
    this.#edges = edges;
    this.#partials = partials;
    this.#targetsUrl = targetsUrl;
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

  /**
   * Downloads a target's file, continuing where an earlier attempt broke off, and hands it over to be verified. A file
   * that was put together of two attempts and turns out wrong is thrown away and fetched from its start, once.
   */
  async downloadFile<T>(url: string, maxLength: number, handler: (file: string) => Promise<T>): Promise<T> {
    const partial = await this.#partials.of(this.#nameOf(url));
    const attempt = async (): Promise<{ readonly result: T } | undefined> => {
      const resumed = (await partial.size()) > 0;
      await this.#recorded(() => this.#resume(url, maxLength, partial));
      try {
        return { result: await handler(partial.path) };
      } catch (error) {
        if (!resumed || diskFault(error) !== undefined) throw error;
        return undefined;
      } finally {
        await partial.remove();
      }
    };
    const done = (await attempt()) ?? (await attempt());
    if (done === undefined) throw new TypeError('a download that starts again is not resumed');
    return done.result;
  }

  async #resume(url: string, maxLength: number, partial: PartialDownload): Promise<void> {
    if (this.offline) throw new TrustError('not-cached', `${url} is not in the cache`);
    try {
      await resumeDownload(this.#edges, { url, length: maxLength, partial, signal: this.signal });
    } catch (error) {
      // An interrupted download can resume; a refused one, or one that did not fit on the disk, cannot.
      if (!this.signal.aborted && failureKind(error) !== 'unreachable') await partial.remove();
      throw error;
    }
  }

  /** A target file's name in the repository, whichever mirror it comes from. */
  #nameOf(url: string): string {
    const base = new URL(`${this.#targetsUrl.replace(/\/+$/, '')}/`).href;
    return url.startsWith(base) ? url.slice(base.length) : url;
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
      // How a client learns that it has the newest root (specification 1.0.34, section 5.3.3); tuf-js wants its own
      // class.
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
