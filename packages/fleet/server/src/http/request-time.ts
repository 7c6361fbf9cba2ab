import type { FastifyInstance } from 'fastify';
import { hasBody } from './unread.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Milliseconds for a whole request of the route, its body included. */
    requestTimeMs?: number;
  }
}

/** Node knows one time for all requests; this is it, and `limitRequestTime` is stricter with all but a few. */
export const LONGEST_REQUEST_MS = 2 * 3_600_000;

/** A body that does not come in time ends its connection, as Node does it where the time is the same for all. */
export function limitRequestTime(server: FastifyInstance, usualMs: number): void {
  server.addHook('onRequest', async (request) => {
    if (!hasBody(request.headers)) return;
    const ms = request.routeOptions.config.requestTimeMs ?? usualMs;
    const timer = setTimeout(() => request.raw.destroy(), ms).unref();
    request.raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
  });
}
