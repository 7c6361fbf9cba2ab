import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Edges, errorText } from '@kmend/base';
import { KernelError, type KernelErrorCode } from '../error.ts';

/** The network as this package needs it; the platform's `fetch` fits. */
export type Fetch = (url: string, init: { signal: AbortSignal }) => Promise<Response>;

/** Bounds of one download. */
export interface HttpLimits {
  readonly attempts: number;
  /** Milliseconds before the second attempt; as much more before each further one. */
  readonly pauseMs: number;
  /** Milliseconds without a byte that end an attempt. */
  readonly stallMs: number;
  /** Milliseconds an attempt may take, beside those for its size at `leastRate`. */
  readonly attemptMs: number;
  /** Bytes a second below which a mirror is of no use. */
  readonly leastRate: number;
}

const patient: HttpLimits = { attempts: 3, pauseMs: 1_000, stallMs: 30_000, attemptMs: 60_000, leastRate: 64 << 10 };

export interface HttpEdges extends Pick<Edges, 'clock' | 'progress' | 'signal'> {
  readonly fetch: Fetch;
  /** Default: three attempts, 30 s without a byte, 64 KiB a second. */
  readonly limits?: HttpLimits;
}

/** What a download has to be. */
export interface Wanted {
  /** Bytes; more is `archive-garbage`. */
  readonly limit: number;
  readonly expected?: { readonly size: number; readonly sha256: string };
  /** The error where the content is not the expected one. Default `package-damaged`. */
  readonly mismatch?: KernelErrorCode;
}

/**
 * Downloads to a file whole or not at all; one at a time to the same destination. With `expected`, size and SHA-256
 * must match. Tries again on network faults, then `archive-unreachable`; a 404 is answered with `undefined`.
 */
export async function download(
  edges: HttpEdges,
  url: string,
  destination: string,
  wanted: Wanted,
): Promise<string | undefined> {
  const { attempts, pauseMs } = edges.limits ?? patient;
  await mkdir(dirname(destination), { recursive: true }).catch((error: unknown) => {
    throw unwritable(dirname(destination), error);
  });
  const temporary = `${destination}.part`;
  for (let attempt = 1; ; attempt++) {
    edges.signal.throwIfAborted();
    try {
      const found = await attemptDownload(edges, url, temporary, wanted);
      if (!found) return undefined;
      await rename(temporary, destination);
      return destination;
    } catch (error) {
      await rm(temporary, { force: true });
      if (error instanceof KernelError || edges.signal.aborted) throw error;
      if (isLocal(error)) throw unwritable(temporary, error);
      if (attempt === attempts) {
        throw new KernelError('archive-unreachable', `${url} could not be fetched: ${errorText(causeOf(error))}`, {
          cause: error,
          hint: 'check the network and the proxy, or name another mirror with KMEND_MIRROR',
        });
      }
    }
    await edges.clock.sleep(pauseMs * attempt, edges.signal);
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

function unwritable(path: string, cause: unknown): KernelError {
  return new KernelError('cache-unwritable', `${path} cannot be written: ${errorText(cause)}`, {
    cause,
    hint: 'make room there, or name another folder with KMEND_CACHE',
  });
}

/** Of the file system, not of the network: a full disk does not get better by asking again. */
function isLocal(error: unknown): boolean {
  const syscall = error instanceof Error ? (error as NodeJS.ErrnoException).syscall : undefined;
  return syscall === 'open' || syscall === 'write' || syscall === 'close' || syscall === 'rename';
}

async function attemptDownload(edges: HttpEdges, url: string, temporary: string, wanted: Wanted): Promise<boolean> {
  const { stallMs, attemptMs, leastRate } = edges.limits ?? patient;
  const { limit, expected } = wanted;
  const stop = new AbortController();
  const onStall = (): void => stop.abort(new Error(`no data for ${stallMs / 1000} s`));
  const most = attemptMs + ((expected?.size ?? limit) / leastRate) * 1000;
  const deadline = setTimeout(() => stop.abort(new Error('the mirror is too slow')), Math.min(most, 2 ** 31 - 1));
  let stall = setTimeout(onStall, stallMs);
  try {
    const signal = AbortSignal.any([edges.signal, stop.signal]);
    const response = await edges.fetch(url, { signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      if (response.status === 404) return false;
      throw new Error(`HTTP status ${response.status}`);
    }
    const hash = createHash('sha256');
    let size = 0;
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        clearTimeout(stall);
        stall = setTimeout(onStall, stallMs);
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
    check(url, { size, sha256: hash.digest('hex') }, wanted);
    return true;
  } finally {
    clearTimeout(stall);
    clearTimeout(deadline);
  }
}

function check(url: string, found: { readonly size: number; readonly sha256: string }, wanted: Wanted): void {
  const { expected, mismatch = 'package-damaged' } = wanted;
  if (expected === undefined || (found.size === expected.size && found.sha256 === expected.sha256)) return;
  throw new KernelError(
    mismatch,
    `${url} has ${found.size} bytes with SHA-256 ${found.sha256}, not ${expected.size} with ${expected.sha256}`,
    { hint: 'the mirror is damaged or being updated: try again, or name another one with KMEND_MIRROR' },
  );
}
