import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';

/** How much of a body that the server refuses is still read, and for how long. */
export interface UnreadLimits {
  readonly bytes: number;
  readonly ms: number;
}

const LIMITS: UnreadLimits = { bytes: 16 * 2 ** 20, ms: 5_000 };

export function hasBody({
  'content-length': length = '0',
  'transfer-encoding': encoding,
}: IncomingHttpHeaders): boolean {
  return encoding !== undefined || Number(length) !== 0;
}

/**
 * Answers at once a request whose body the server does not want, and ends its connection only after it has read on for
 * a moment. A close with unread bytes is a TCP reset (RFC 9293, 3.10.7), which takes the answer with it: nginx, in the
 * middle of a large upload, then says 502 in place of the server's 401 or 413 (RFC 9112, 9.6).
 */
export function readOnAfterRefusal(server: FastifyInstance, limits: UnreadLimits = LIMITS): void {
  server.addHook('onSend', async ({ raw }, reply, payload) => {
    if (raw.complete || !hasBody(raw.headers)) return payload;
    reply.header('connection', 'close');
    if (typeof payload !== 'string') return payload;
    reply.header('content-length', Buffer.byteLength(payload));
    return Readable.from(answerThenRead(payload, raw, limits), { objectMode: false });
  });
}

/** The answer is whole with its first piece, as its length says; it ends once the body was read on. */
async function* answerThenRead(answer: string, request: IncomingMessage, limits: UnreadLimits): AsyncGenerator<string> {
  yield answer;
  await readOn(request, limits);
}

function readOn(request: IncomingMessage, { bytes, ms }: UnreadLimits): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = bytes;
  const read = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) resolve();
  };
  const done = (): void => resolve();
  const timer = setTimeout(done, ms);
  request.on('data', read).once('end', done).once('error', done).once('close', done).resume();
  if (request.complete || request.destroyed) resolve();
  return promise.finally(() => {
    clearTimeout(timer);
    request.off('data', read).off('end', done).off('error', done).off('close', done).pause();
  });
}
