import { missingFiles } from '@kmend/trust';
import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { isLoopback } from '../address.ts';
import { requireOperator } from './auth.ts';
import type { AppContext } from './context.ts';
import type { Metrics } from './metrics.ts';

/** `/healthz` for load balancers, `/metrics` for Prometheus, `/openapi.json` for people and generators. */
export function systemRoutes(context: AppContext, metrics: Metrics, behindProxy: boolean) {
  return async (app: FastifyInstance): Promise<void> => {
    app.get('/healthz', { logLevel: 'warn', schema: { hide: true } }, async (_request, reply) => {
      const { repository, notes } = await repositoryFresh(context);
      const checks = { store: await storeWorks(context), repository };
      const ok = Object.values(checks).every((text) => text === 'ok');
      return reply
        .code(ok ? 200 : 503)
        .send({ status: ok ? 'ok' : 'failing', checks, ...(notes.length === 0 ? {} : { notes }) });
    });

    app.get('/metrics', { logLevel: 'warn', schema: { hide: true } }, async (request, reply) => {
      // Figures of the fleet are for its operator: a scraper elsewhere sends the operator's token.
      // Behind a proxy everyone may look local.
      if (behindProxy || !isLoopback(request.ip)) requireOperator(context, request);
      return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
    });

    app.get('/openapi.json', { logLevel: 'warn', schema: { hide: true } }, async () => app.swagger());
  };
}

async function storeWorks({ store, disk }: AppContext): Promise<string> {
  const fault = await disk.fault();
  if (fault !== undefined) return `${fault.code}: ${fault.message}`;
  try {
    await sql`select 1`.execute(store);
    return 'ok';
  } catch {
    return 'the store does not answer';
  }
}

/** Roles that only the operator can sign again. */
const OFFLINE = new Set(['root', 'targets']);

/**
 * Whether hosts can trust what is served, and notes on what only the operator can mend. A role that holds for longer
 * than it may would let a mirror freeze hosts for as long: the server signs its own again at once (`refreshOnline`),
 * and says so until it has.
 */
async function repositoryFresh({
  repository,
  repositoryDirectory,
  clock,
}: AppContext): Promise<{ repository: string; notes: string[] }> {
  const missing = await missingFiles(repositoryDirectory, repository.state);
  const more = missing.length > 5 ? ', ...' : '';
  const ages = await repository.ages();
  const expired = ages.filter(({ expires }) => expires <= clock.now()).map(({ role }) => role);
  const overlong = ages.filter((age) => age.overlong).map(({ role }) => role);
  const [offline, online] = [
    overlong.filter((role) => OFFLINE.has(role)),
    overlong.filter((role) => !OFFLINE.has(role)),
  ];
  const problems = [
    ...(missing.length === 0 ? [] : [`files are missing or damaged: ${missing.slice(0, 5).join(', ')}${more}`]),
    ...(expired.length === 0 ? [] : [`expired: ${expired.join(', ')}`]),
    ...(online.length === 0 ? [] : [`holds longer than it may, not signed again yet: ${online.join(', ')}`]),
  ];
  const note = `signed by a clock that was ahead: ${offline.join(', ')}; sign again with kmend keys renew`;
  return {
    repository: problems.length === 0 ? 'ok' : problems.join('; '),
    notes: offline.length === 0 ? [] : [note],
  };
}
