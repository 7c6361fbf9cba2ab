import type { Clock, Edges } from '@kmend/base';
import { TrustError } from '../error.ts';

/** The part of the global `fetch` that is used: so that a test, or a proxy's dispatcher, can stand in. */
export type Fetch = (url: string, init: { headers: Record<string, string>; signal: AbortSignal }) => Promise<Response>;

/**
 * When a transfer counts as slow (slow retrieval attack). A whole-transfer limit would punish large files on slow
 * links.
 */
export interface TransferLimits {
  /** Milliseconds to the answer's headers. */
  readonly headersMs: number;
  /** Milliseconds without a byte. */
  readonly stallMs: number;
  /** Milliseconds before the average rate counts. */
  readonly graceMs: number;
  /** Least average rate after that. */
  readonly minBytesPerSecond: number;
}

export const defaultLimits: TransferLimits = {
  headersMs: 15_000,
  stallMs: 10_000,
  graceMs: 20_000,
  minBytesPerSecond: 2_000,
};

export interface TransferEdges extends Pick<Edges, 'clock'> {
  readonly fetch: Fetch;
  readonly limits: TransferLimits;
}

export interface Answer {
  readonly status: number;
  readonly etag: string | undefined;
  /** Of an answer to a request for a range, as sent. */
  readonly contentRange: string | undefined;
  /** The body, chunk by chunk, within the limits; iterate it to its end or call `discard`. */
  readonly body: AsyncIterable<Uint8Array>;
  discard(): Promise<void>;
}

/**
 * One GET. Throws `repository-unreachable` (no answer), `repository-slow` (headers or body below the limits) and, while
 * the body is read, `repository-too-large` beyond `maxLength` bytes (endless data attack). Rejects with the signal's
 * reason when aborted.
 */
export async function get(
  edges: TransferEdges,
  url: string,
  maxLength: number,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  signal.throwIfAborted();
  const own = new AbortController();
  const either = AbortSignal.any([signal, own.signal]);
  const request = edges.fetch(url, {
    headers: { 'user-agent': 'kmend', 'accept-encoding': 'identity', accept: '*/*', ...headers },
    signal: either,
  });
  let response: Response;
  try {
    response = await within(edges.clock, request, edges.limits.headersMs, () => slow(url, 'no answer'));
  } catch (error) {
    own.abort();
    request.catch(() => undefined);
    signal.throwIfAborted();
    if (error instanceof TrustError) throw error;
    throw unreachable(url, error);
  }
  return {
    status: response.status,
    etag: response.headers.get('etag') ?? undefined,
    contentRange: response.headers.get('content-range') ?? undefined,
    body: bounded(edges, response, url, maxLength, signal, own),
    async discard() {
      own.abort();
      await response.body?.cancel().catch(() => undefined);
    },
  };
}

async function* bounded(
  edges: TransferEdges,
  response: Response,
  url: string,
  maxLength: number,
  signal: AbortSignal,
  own: AbortController,
): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const { clock, limits } = edges;
  const reader = response.body.getReader();
  const started = clock.monotonic();
  let received = 0;
  try {
    for (;;) {
      const rateDeadline = started + limits.graceMs + (received / limits.minBytesPerSecond) * 1000;
      const budget = Math.max(0, Math.min(limits.stallMs, rateDeadline - clock.monotonic()));
      const { done, value } = await within(clock, reader.read(), budget, () => slow(url, `${received} bytes so far`));
      if (done) return;
      received += value.length;
      if (received > maxLength) throw tooLarge(url, maxLength);
      yield value;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TrustError) throw error;
    throw unreachable(url, error);
  } finally {
    own.abort();
    await reader.cancel().catch(() => undefined);
  }
}

/** `work`, or what `onTimeout` makes once `ms` have passed. */
async function within<T>(clock: Clock, work: Promise<T>, ms: number, onTimeout: () => Error): Promise<T> {
  const done = new AbortController();
  const timer = clock.sleep(ms, done.signal).then(
    () => Promise.reject(onTimeout()),
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work, timer]);
  } finally {
    done.abort();
  }
}

export function tooLarge(url: string, maxLength: number): TrustError {
  return new TrustError('repository-too-large', `${url} is larger than the ${maxLength} bytes allowed`, {
    hint: 'the repository or a proxy in front of it is broken or hostile; nothing of it was kept',
  });
}

function slow(url: string, what: string): TrustError {
  return new TrustError('repository-slow', `${url} is too slow: ${what}`, {
    hint: 'check the network path to the patch server; the next check retries',
  });
}

function unreachable(url: string, cause: unknown): TrustError {
  const detail =
    cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : (cause as Error).message;
  return new TrustError('repository-unreachable', `cannot reach ${url}: ${detail || 'no answer'}`, {
    cause,
    hint: 'check that the patch server runs and that name, port, proxy and certificate are right',
  });
}
