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
      const checks = { store: await storeWorks(context), repository: await repositoryFresh(context) };
      const ok = Object.values(checks).every((text) => text === 'ok');
      return reply.code(ok ? 200 : 503).send({ status: ok ? 'ok' : 'failing', checks });
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

async function repositoryFresh({ repository, repositoryDirectory, clock }: AppContext): Promise<string> {
  const missing = await missingFiles(repositoryDirectory, repository.state);
  if (missing.length > 0)
    return `files are missing or damaged: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', ...' : ''}`;
  const expired = (await repository.ages()).filter(({ expires }) => expires <= clock.now()).map(({ role }) => role);
  return expired.length === 0 ? 'ok' : `expired: ${expired.join(', ')}`;
}
