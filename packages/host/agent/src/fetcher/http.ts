import { errorText } from '@kmend/base';
import { ApiError } from '@kmend/protocol';
import type { z } from 'zod';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

const TIMEOUT_MS = 20_000;
const MAX_ANSWER = 64 * 1024;

export interface Request<T> {
  readonly url: string;
  readonly body: unknown;
  /** Bearer token of the host. */
  readonly token?: string;
  readonly answer: z.ZodType<T>;
  readonly signal?: AbortSignal;
  /** Limit on the whole exchange. Default 20 s. */
  readonly timeoutMs?: number;
}

/**
 * One JSON POST to the patch server. The whole exchange has a limit on time and the answer one on size. Throws
 * `server-unreachable`, `server-slow`, `server-busy`, `server-garbage`, `server-refused` (with the server's own code in `details.server`).
 */
export async function post<T>(edges: Edges, request: Request<T>): Promise<T> {
  const limit = request.timeoutMs ?? TIMEOUT_MS;
  const timeout = AbortSignal.timeout(limit);
  const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]);
  let status: number;
  let text: string;
  try {
    const response = await edges.fetch(request.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json',
        ...(request.token === undefined ? {} : { authorization: `Bearer ${request.token}` }),
      },
      body: JSON.stringify(request.body),
      redirect: 'error',
      signal,
    });
    status = response.status;
    text = await bounded(response, request.url);
  } catch (error) {
    if (error instanceof AgentError) throw error;
    if (request.signal?.aborted === true) {
      throw new AgentError('interrupted', 'the request to the server was interrupted', { cause: error });
    }
    if (timeout.aborted) {
      throw new AgentError('server-slow', `${request.url} did not answer within ${limit / 1000} s`, {
        cause: error,
        hint: 'the agent retries by itself; check the network and the load of the server',
      });
    }
    throw new AgentError('server-unreachable', `${request.url} cannot be reached: ${reason(error)}`, {
      cause: error,
      hint: 'check address, name service, proxy and certificate; the agent retries by itself',
    });
  }
  return understand(request, status, text);
}

async function bounded(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (response.body !== null) {
    for await (const chunk of response.body) {
      size += chunk.length;
      if (size > MAX_ANSWER) throw garbage(url, `its answer is larger than ${MAX_ANSWER} bytes`);
      chunks.push(chunk);
    }
  }
  return Buffer.concat(chunks).toString('utf8');
}

function understand<T>(request: Request<T>, status: number, text: string): T {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    const foreign = foreignRefusal(request, status);
    if (foreign !== undefined) throw foreign;
    if (status === 502 || status === 503 || status === 504) {
      throw new AgentError('server-unreachable', `${request.url} is not served now (HTTP ${status})`, {
        hint: 'the agent retries by itself; check the server and the proxy in front of it',
      });
    }
    throw garbage(request.url, `HTTP ${status}, not JSON`);
  }
  if (status >= 200 && status < 300) {
    const parsed = request.answer.safeParse(data);
    if (parsed.success) return parsed.data;
    throw garbage(request.url, `HTTP ${status}, not the answer asked for`);
  }
  const refusal = ApiError.safeParse(data);
  if (!refusal.success) throw garbage(request.url, `HTTP ${status} without an error that kmend knows`);
  const { code, message, hint } = refusal.data.error;
  if (status === 429) throw busy(`${request.url}: ${message.slice(0, 500)} [${code.slice(0, 64)}]`);
  throw new AgentError('server-refused', `the server refused: ${message.slice(0, 500)} [${code.slice(0, 64)}]`, {
    details: { server: code.slice(0, 64), status },
    ...(hint === undefined ? {} : { hint: hint.slice(0, 500) }),
  });
}

/** What is between this host and the server says by status alone: no answer of kmend's, and no captive portal either. */
function foreignRefusal({ url, body }: Request<unknown>, status: number): AgentError | undefined {
  if (status === 429)
    return busy(`too many requests to ${url}, from this host or from others behind the same address (HTTP 429)`);
  if (status === 413) {
    const size = JSON.stringify(body).length;
    return new AgentError(
      'server-refused',
      `a proxy in front of ${url} rejects a request of ${size} bytes (HTTP 413)`,
      {
        details: { status, size },
        hint: 'raise its limit on bodies (nginx: client_max_body_size 4m)',
      },
    );
  }
  return undefined;
}

function busy(message: string): AgentError {
  return new AgentError('server-busy', message, {
    hint: 'the agent waits as Retry-After says and retries by itself; check the limits of server and proxy',
  });
}

function garbage(url: string, what: string): AgentError {
  return new AgentError('server-garbage', `${url} gave an answer that is not kmend's: ${what}`, {
    hint: 'check that this is the address of a kmend server, without a captive portal or proxy page in between',
  });
}

/** `fetch failed` says nothing; its cause does. */
function reason(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? errorText(error.cause) : errorText(error);
}
