import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorText, type Progress } from '@kmend/base';
import { KernelError } from '../error.ts';

/** The network as this package needs it; the platform's `fetch` fits. */
export type Fetch = (url: string, init: { signal: AbortSignal }) => Promise<Response>;

export interface HttpEdges {
  readonly fetch: Fetch;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

const ATTEMPTS = 3;
/** No byte for this long ends an attempt. */
const STALL_MS = 30_000;

/**
 * Downloads to a file whole or not at all. With `expected`, size and SHA-256 must match, else `package-damaged`. Tries again
 * on network faults; a 404 is answered with `undefined`.
 */
export async function download(
  edges: HttpEdges,
  url: string,
  destination: string,
  limit: number,
  expected?: { readonly size: number; readonly sha256: string },
): Promise<string | undefined> {
  await mkdir(dirname(destination), { recursive: true });
  const temporary = `${destination}.${process.pid}.part`;
  for (let attempt = 1; ; attempt++) {
    edges.signal.throwIfAborted();
    try {
      const found = await attemptDownload(edges, url, temporary, limit, expected);
      if (!found) return undefined;
      await rename(temporary, destination);
      return destination;
    } catch (error) {
      await rm(temporary, { force: true });
      if (error instanceof KernelError || edges.signal.aborted || attempt === ATTEMPTS) {
        if (error instanceof KernelError || edges.signal.aborted) throw error;
        throw new KernelError('archive-unreachable', `${url} could not be fetched: ${errorText(causeOf(error))}`, {
          cause: error,
          hint: 'check the network and the proxy, or name another mirror with KMEND_MIRROR',
        });
      }
    }
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

async function attemptDownload(
  edges: HttpEdges,
  url: string,
  temporary: string,
  limit: number,
  expected: { readonly size: number; readonly sha256: string } | undefined,
): Promise<boolean> {
  const stall = new AbortController();
  let timer = setTimeout(() => stall.abort(new Error('no data for 30 s')), STALL_MS);
  try {
    const signal = AbortSignal.any([edges.signal, stall.signal]);
    const response = await edges.fetch(url, { signal });
    if (response.status === 404) return false;
    if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
    const hash = createHash('sha256');
    let size = 0;
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        clearTimeout(timer);
        timer = setTimeout(() => stall.abort(new Error('no data for 30 s')), STALL_MS);
        size += chunk.length;
        if (size > limit) {
          done(new KernelError('archive-garbage', `${url} is larger than ${limit} bytes`));
          return;
        }
        hash.update(chunk);
        edges.progress.advance(size, expected?.size, 'bytes');
        done(null, chunk);
      },
    });
    await pipeline(Readable.fromWeb(response.body), measure, createWriteStream(temporary), { signal });
    const digest = hash.digest('hex');
    if (expected !== undefined && (size !== expected.size || digest !== expected.sha256)) {
      throw new KernelError(
        'package-damaged',
        `${url} has ${size} bytes with SHA-256 ${digest}, not ${expected.size} with ${expected.sha256}`,
        {
          hint: 'the mirror is damaged or being updated: try again, or name another one with KMEND_MIRROR',
        },
      );
    }
    return true;
  } finally {
    clearTimeout(timer);
  }
}
