import { errorText, KmendError, parseJson } from '@kmend/base';
import { ApiError } from '@kmend/protocol';
import type { z } from 'zod';
import { ServerError } from '../error.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly token: string;
  readonly signal: AbortSignal;
  readonly json?: unknown;
  readonly bytes?: Blob | ReadableStream<Uint8Array>;
  /** Milliseconds for the whole exchange. */
  readonly timeoutMs: number;
}

export type ApiFetch = (url: string, init: RequestInit) => Promise<Response>;

/** Bytes of an answer. */
const MAX_ANSWER = 64 * 2 ** 20;

/**
 * One exchange with the API. Throws what the server says as a `KmendError` of the server's own code, `server-unreachable`,
 * `server-slow`, `proxy-refused` where something on the way refuses, or `server-garbage` where the answer is not this API's.
 */
export async function exchange<T>(fetch: ApiFetch, request: ApiRequest, schema: z.ZodType<T>): Promise<T> {
  const timeout = AbortSignal.timeout(request.timeoutMs);
  try {
    const { status, text, retryAfter } = await send(fetch, request, AbortSignal.any([request.signal, timeout]));
    if (status >= 400) throw refusal(request.url, status, text, retryAfter);
    const parsed = schema.safeParse(text === '' ? undefined : parseJson(text));
    if (parsed.success) return parsed.data;
    throw garbage(request.url, status, parsed.error);
  } catch (cause) {
    request.signal.throwIfAborted();
    if (cause instanceof KmendError) throw cause;
    if (timeout.aborted) {
      throw new ServerError('server-slow', `${request.url} did not answer within ${request.timeoutMs / 1000} s`, {
        cause,
        hint: 'check the network path and the server’s load, and try again',
      });
    }
    const detail = cause instanceof Error && cause.cause !== undefined ? errorText(cause.cause) : errorText(cause);
    throw new ServerError('server-unreachable', `cannot reach ${request.url}: ${detail}`, {
      cause,
      hint: 'check that the patch server runs and that its address and certificate are right',
    });
  }
}

async function send(
  fetch: ApiFetch,
  request: ApiRequest,
  signal: AbortSignal,
): Promise<{ status: number; text: string; retryAfter: string | null }> {
  const headers: Record<string, string> = { authorization: `Bearer ${request.token}`, accept: 'application/json' };
  const body = request.bytes ?? (request.json === undefined ? undefined : JSON.stringify(request.json));
  if (body !== undefined) {
    headers['content-type'] = request.bytes === undefined ? 'application/json' : 'application/octet-stream';
  }
  // A redirect could carry the token elsewhere. `half`: what `fetch` wants to hear where the body is a stream.
  const init: RequestInit = { method: request.method, headers, signal, redirect: 'error', duplex: 'half' };
  const response = await fetch(request.url, body === undefined ? init : { ...init, body });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw garbage(request.url, response.status, new Error('the answer does not end'));
    chunks.push(chunk);
  }
  const retryAfter = response.headers.get('retry-after');
  return { status: response.status, text: Buffer.concat(chunks).toString(), retryAfter };
}

function refusal(url: string, status: number, text: string, retryAfter: string | null): KmendError {
  const parsed = ApiError.safeParse(parseJson(text));
  if (!parsed.success) return onTheWay(url, status, retryAfter) ?? garbage(url, status, parsed.error);
  const { code, message, hint } = parsed.data.error;
  return new KmendError(code, message, { details: { status, url }, ...(hint === undefined ? {} : { hint }) });
}

/** What a proxy or load balancer on the way says by its status, in words of its own that mean nothing here. */
const ON_THE_WAY: Readonly<
  Record<number, readonly [code: 'proxy-refused' | 'server-unreachable', what: string, hint: string]>
> = {
  407: ['proxy-refused', 'a proxy requires a user name and a password', 'set them in HTTPS_PROXY'],
  413: [
    'proxy-refused',
    'a proxy rejects a body of this size',
    'allow 64 MiB in front of the server (nginx: client_max_body_size; docs/server.md, "Behind a reverse proxy")',
  ],
  429: ['proxy-refused', 'a proxy limits the rate of requests', 'retry later'],
  502: ['server-unreachable', 'the proxy in front of the server does not reach it', 'check the server and the proxy'],
  503: ['server-unreachable', 'the server is unavailable', 'check the server and the proxy in front of it'],
  504: ['server-unreachable', 'the proxy in front of the server timed out', 'check the server’s load'],
};

function onTheWay(url: string, status: number, retryAfter: string | null): ServerError | undefined {
  const known = ON_THE_WAY[status];
  if (known === undefined) return undefined;
  const [code, what, hint] = known;
  const again = /^\d{1,6}$/.test(retryAfter ?? '') ? `; it asks to wait ${retryAfter} s` : '';
  return new ServerError(code, `${url}: ${what} (status ${status})${again}`, { hint, details: { status, url } });
}

function garbage(url: string, status: number, cause: unknown): ServerError {
  return new ServerError('server-garbage', `the answer of ${url} (status ${status}) is not the kmend API's`, {
    cause,
    hint: 'check the server’s address and version, and that no proxy or login page answers',
  });
}
