import { errorCode } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServerError, type ServerErrorCode } from '../error.ts';
import { admitPackageHost, type PackageVisitor } from '../store/package-hosts.ts';
import type { AppContext } from './context.ts';

/** Longest credentials worth looking at. */
const MAX_CREDENTIALS = 400;
/** A machine's name follows what the setup of every host says. */
const USER = /^kmend-([A-Za-z0-9._-]{1,64})$/;

/**
 * What earlier setups called every machine whose /etc/machine-id was empty or not written yet: no name of one machine.
 */
const NO_MACHINE = new Set(['', '\n', 'uninitialized\n'].map((id) => sha256(id).slice(0, 16)));

/** In place of the status's usual phrase: it is all that apt shows of an answer; dnf shows the status alone. */
const PHRASES: Partial<Record<ServerErrorCode, string>> = {
  unauthorized: 'kmend asks for an activation key (unauthorized)',
  'key-unknown': 'kmend does not know the activation key (key-unknown)',
  'key-revoked': 'the activation key was revoked (key-revoked)',
  'key-expired': 'the activation key has expired (key-expired)',
  'key-no-seats': 'all seats of the activation key are taken (key-no-seats)',
  'host-unnamed': 'the user must be kmend-NAME-OF-THE-MACHINE (host-unnamed)',
};

/**
 * Admits clients with an activation key. Throws `unauthorized` (no key, or an unknown one), `key-revoked`,
 * `key-expired`, `key-no-seats`, `host-unnamed`, and `rate-limited` after many unknown keys from one address.
 */
export async function packageGate(context: AppContext, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (context.openPackages) return;
  try {
    const visitor = visitorOf(request);
    if (visitor === undefined) {
      throw new ServerError('unauthorized', 'an activation key as the password of HTTP Basic is missing', {
        hint: 'ask the operator for the setup that kmend repo apt or kmend repo dnf prints',
      });
    }
    await admitPackageHost(context.store, visitor, context.clock, context.times.seatMs);
  } catch (error) {
    throw told(limited(context, request, error), request, reply);
  }
}

/**
 * What an unknown key is answered with: after many from one address, `rate-limited`. A known key is never kept waiting
 * for others.
 */
function limited(context: AppContext, request: FastifyRequest, error: unknown): unknown {
  if (errorCode(error) !== 'key-unknown') return error;
  try {
    context.failures.charge(request.ip);
    return error;
  } catch (tooMany) {
    return tooMany;
  }
}

/** Notes a refusal, and has the answer's head say what it is. */
function told(error: unknown, request: FastifyRequest, reply: FastifyReply): unknown {
  if (!(error instanceof ServerError)) return error;
  const { code, details, message, hint } = error;
  request.log.warn({ code, ip: request.ip, keyId: details?.['id'] }, 'packages refused');
  const phrase = PHRASES[code];
  if (phrase !== undefined) reply.raw.statusMessage = phrase;
  if (code !== 'unauthorized' && code !== 'key-unknown') return error;
  reply.header('www-authenticate', 'Basic realm="kmend packages"');
  return new ServerError('unauthorized', message, { cause: error, ...(hint === undefined ? {} : { hint }) });
}

function visitorOf(request: FastifyRequest): PackageVisitor | undefined {
  const [, encoded] = /^Basic ([A-Za-z0-9+/=_-]+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (encoded === undefined || encoded.length > MAX_CREDENTIALS) return undefined;
  const [, user = '', password = ''] = /^([^:]*):(.+)$/.exec(Buffer.from(encoded, 'base64').toString()) ?? [];
  return password === '' ? undefined : { activationKey: password, label: labelOf(user) };
}

function labelOf(user: string): string | undefined {
  const label = USER.exec(user)?.[1];
  return label === undefined || NO_MACHINE.has(label) ? undefined : label;
}
