import swagger from '@fastify/swagger';
import { escapedJson } from '@kmend/base';
import { type FastifyInstance, type FastifyRequest, fastify, LogController } from 'fastify';
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { DestinationStream } from 'pino';
import { ServerError } from '../error.ts';
import { agentRoutes } from './agent-routes.ts';
import type { AppContext } from './context.ts';
import { answerTo, plainText } from './errors.ts';
import { createMetrics, type Metrics, registerGauges } from './metrics.ts';
import { operatorRoutes } from './operator-routes.ts';
import { formatOf, PACKAGES_ROUTE, packageRoutes } from './package-routes.ts';
import type { TrustsProxy } from './proxies.ts';
import { repositoryRoutes } from './repository-routes.ts';
import { LONGEST_REQUEST_MS, limitRequestTime } from './request-time.ts';
import { systemRoutes } from './system-routes.ts';
import { readOnAfterRefusal } from './unread.ts';

export interface AppOptions {
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug';
  readonly logStream: DestinationStream | undefined;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  /** Proxies in front, whose X-Forwarded-For is believed; `undefined`: none. */
  readonly trustsProxy: TrustsProxy | undefined;
}

/** What holds of every certificate. */
export const TLS = { minVersion: 'TLSv1.2' } as const;

/** Milliseconds for a whole request, uploads included, unless its route allows more. */
const REQUEST_TIMEOUT_MS = 120_000;

export interface App {
  readonly server: FastifyInstance;
  readonly metrics: Metrics;
}

/** The HTTP server with all its routes, not listening yet. */
export async function createApp(context: AppContext, options: AppOptions): Promise<App> {
  const server = newFastify(options);
  server.setValidatorCompiler(validatorCompiler);
  server.setSerializerCompiler(serializerCompiler);
  const metrics = createMetrics();
  registerGauges(metrics, context);
  observe(server, metrics);
  refuseOnClosing(server);
  readOnAfterRefusal(server);
  limitRequestTime(server, REQUEST_TIMEOUT_MS);

  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'kmend patch server', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      components: {
        securitySchemes: {
          operator: { type: 'http', scheme: 'bearer' },
          host: { type: 'http', scheme: 'bearer' },
          activationKey: { type: 'http', scheme: 'basic' },
        },
      },
    },
    transform: jsonSchemaTransform,
  });
  await server.register(agentRoutes(context));
  await server.register(operatorRoutes(context));
  await server.register(repositoryRoutes(context));
  await server.register(packageRoutes(context));
  await server.register(systemRoutes(context, metrics, options.trustsProxy !== undefined));
  return { server, metrics };
}

function newFastify({ logLevel, logStream, tls, trustsProxy }: AppOptions): FastifyInstance {
  const common = {
    logger: {
      level: logLevel,
      // Requests are logged without headers and bodies; this is the second line.
      redact: ['req.headers.authorization', 'headers.authorization', '*.token', '*.activationKey', '*.key'],
      stream: shownLog(logStream ?? process.stdout),
    },
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: trustsProxy ?? false,
    requestTimeout: LONGEST_REQUEST_MS,
    routerOptions: { maxParamLength: 200 },
    // `refuseOnClosing` does it, with our own answer.
    return503OnClosing: false,
    forceCloseConnections: 'idle' as const,
  };
  if (tls === undefined) return fastify(common);
  const secure = fastify({ ...common, https: { ...TLS, cert: tls.cert, key: tls.key } });
  // The types differ by the kind of socket server alone, which nothing here looks at.
  return secure as unknown as FastifyInstance;
}

/**
 * Log lines, JSON, in characters that no terminal obeys: a host's name is in them, and people read a log with `tail`.
 */
function shownLog(stream: Pick<DestinationStream, 'write'>): DestinationStream {
  return { write: (line) => void stream.write(escapedJson(line)) };
}

/** Seconds until a server that is restarted is up again. */
const RESTART_SECONDS = 10;

/** Connections that are still open when the server stops get an error body that says when to retry. */
function refuseOnClosing(server: FastifyInstance): void {
  let closing = false;
  server.addHook('preClose', async () => {
    closing = true;
  });
  server.addHook('onRequest', async () => {
    if (!closing) return;
    throw new ServerError('server-stopping', `the server is stopping; retry in ${RESTART_SECONDS} s`, {
      details: { seconds: RESTART_SECONDS },
    });
  });
}

/** One error body for all, one log line for each request that says something, and the figures. */
function observe(server: FastifyInstance, metrics: Metrics): void {
  const results = new WeakMap<FastifyRequest, string>();
  server.setErrorHandler((error, request, reply) => {
    const { status, body } = answerTo(error);
    results.set(request, body.error.code);
    if (status >= 500) request.log.error({ err: error, code: body.error.code }, 'request failed');
    const seconds = error instanceof ServerError ? error.details?.['seconds'] : undefined;
    if ((status === 429 || status === 503) && typeof seconds === 'number') reply.header('retry-after', seconds);
    const { headers } = error as { headers?: Readonly<Record<string, string>> };
    if (status === 416) reply.header('content-range', headers?.['Content-Range']);
    reply.header('cache-control', 'no-store');
    if (request.routeOptions.config.plainErrors === true) {
      return reply.code(status).type('text/plain; charset=utf-8').send(plainText(body));
    }
    return reply.code(status).send(body);
  });
  server.setNotFoundHandler((request, reply) => {
    const { body } = answerTo(
      new ServerError('not-found', `there is no ${request.method} ${request.url.split('?')[0]}`),
    );
    return reply.code(404).header('cache-control', 'no-store').type('application/json').send(body);
  });
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    const seconds = reply.elapsedTime / 1000;
    metrics.duration.observe({ method: request.method, route, status: reply.statusCode }, seconds);
    const result = results.get(request) ?? 'ok';
    if (route === '/v1/enrol') metrics.enrolments.inc({ result });
    if (route === '/v1/reports') metrics.reports.inc({ result });
    if (route === PACKAGES_ROUTE) metrics.packages.inc({ format: formatOf(request), result });
    const line = { method: request.method, route, status: reply.statusCode, ip: request.ip, result };
    request.log.info(line, 'request');
  });
}
