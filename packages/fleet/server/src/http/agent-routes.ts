import { errorCode } from '@kmend/base';
import { ApiError, EnrolRequest, EnrolResponse, MAX_REPORT, Report, ReportResponse } from '@kmend/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { hostById, type KnownHost } from '../store/hosts.ts';
import { enrol } from '../store/keys.ts';
import { forgotten, requireHost } from './auth.ts';
import type { AppContext } from './context.ts';
import { OneAtATime } from './one-at-a-time.ts';
import { takeReport } from './take-report.ts';

/** Milliseconds for a report to arrive whole: an agent gives up after 20 s itself. */
const REPORT_TIME_MS = 20_000;
/** Milliseconds that a host's report waits for the one before it. */
const REPORT_WAIT_MS = 15_000;
/** Bytes. */
const MAX_ENROL = 65_536;

/** What hosts ask for: enrolment and reports. */
export function agentRoutes(context: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const hosts = new WeakMap<FastifyRequest, KnownHost>();
    const turns = new OneAtATime(REPORT_WAIT_MS);
    const app = instance.withTypeProvider<ZodTypeProvider>();

    app.post(
      '/v1/enrol',
      {
        bodyLimit: MAX_ENROL,
        schema: {
          tags: ['hosts'],
          summary: 'An activation key buys a seat',
          body: EnrolRequest,
          response: { 201: EnrolResponse, 403: ApiError, 429: ApiError },
        },
      },
      async (request, reply) => {
        try {
          const enrolled = await enrol(context.store, request.body, context.clock, context.times.seatMs);
          request.log.info({ hostId: enrolled.hostId, hostname: request.body.facts.hostname }, 'host enrolled');
          return reply.code(201).send(enrolled);
        } catch (error) {
          if (errorCode(error) === 'key-unknown') context.failures.charge(request.ip);
          throw error;
        }
      },
    );

    app.post(
      '/v1/reports',
      {
        bodyLimit: MAX_REPORT,
        config: { requestTimeMs: REPORT_TIME_MS },
        logLevel: 'warn',
        schema: {
          tags: ['hosts'],
          summary: 'What a host saw of itself',
          security: [{ host: [] }],
          body: Report,
          response: { 200: ReportResponse, 401: ApiError, 409: ApiError, 429: ApiError },
        },
        // Before the body is read: a request without a token costs no more than a look-up.
        onRequest: async (request, reply) => {
          const host = await requireHost(context, request);
          context.reports.charge(host.id);
          // One body of a host in memory at a time; the changes of one are stored before the next is judged.
          const end = await turns.turn(host.id);
          if (reply.raw.destroyed) end();
          else reply.raw.once('close', end);
          hosts.set(request, host);
        },
      },
      async (request) => {
        const { id } = hosts.get(request) ?? (await requireHost(context, request));
        const host = await hostById(context.store, id);
        // Removed while its report was on its way.
        if (host === undefined) throw forgotten(context.clock.now().toISOString());
        const { kind, newest } = await takeReport(context, host, request.body, context.clock.now().toISOString());
        return {
          nextReportSeconds: context.times.reportSeconds,
          channel: host.channel,
          newest: kind === 'number-used' ? newest + 1 : newest,
        };
      },
    );
  };
}
