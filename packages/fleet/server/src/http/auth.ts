import type { FastifyRequest } from 'fastify';
import { ServerError } from '../error.ts';
import { hostByToken, type KnownHost, removalByToken } from '../store/hosts.ts';
import { sameSecret } from '../store/secrets.ts';
import type { AppContext } from './context.ts';

/** Longest token worth looking at. */
const MAX_TOKEN = 200;

function bearer(request: FastifyRequest): string | undefined {
  const token = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')?.[1];
  return token !== undefined && token.length <= MAX_TOKEN ? token : undefined;
}

function refuse(context: AppContext, request: FastifyRequest, who: string, hint: string): ServerError {
  // Only failures are counted: a valid secret is accepted, whatever others at that address send.
  context.failures.charge(request.ip);
  return new ServerError('unauthorized', `a valid ${who} token is missing`, { hint });
}

/** Lets the operator through. Throws `unauthorized`, and `rate-limited` after many failures from one address. */
export function requireOperator(context: AppContext, request: FastifyRequest): void {
  const token = bearer(request);
  if (token !== undefined && sameSecret(token, context.operatorToken)) return;
  throw refuse(context, request, 'operator', 'the server wrote it to operator-token in its data directory');
}

/** The host that sends the request. Throws as `requireOperator`. */
export async function requireHost(context: AppContext, request: FastifyRequest): Promise<KnownHost> {
  const token = bearer(request);
  const host = token === undefined ? undefined : await hostByToken(context.store, token);
  if (host !== undefined) return host;
  const removed = token === undefined ? undefined : await removalByToken(context.store, token);
  if (removed !== undefined) throw forgotten(removed);
  throw refuse(context, request, 'host', 'the host was removed, or belongs to another server: enrol it again');
}

/** The answer for a host that the operator removed at that time. */
export function forgotten(removed: string): ServerError {
  return new ServerError('host-removed', `the operator removed this host at ${removed}`, {
    hint: 'enrol it again (kmend-agent enrol --again), or remove the agent',
  });
}
