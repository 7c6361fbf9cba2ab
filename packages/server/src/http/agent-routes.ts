import { errorCode } from '@kmend/base';
import { ApiError, EnrolRequest, EnrolResponse, Report, ReportResponse } from '@kmend/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { KnownHost } from '../store/hosts.ts';
import { enrol } from '../store/keys.ts';
import { reportDigest } from '../store/reports.ts';
import { requireHost } from './auth.ts';
import type { AppContext } from './context.ts';
import { MAX_REPORT } from './report-writer.ts';

/** Seconds between the regular reports of a host; changes are reported at once besides. */
const REPORT_SECONDS = 86_400;
/** Bytes. */
const MAX_ENROL = 65_536;

/** What hosts ask for: enrolment and reports. */
export function agentRoutes(context: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const hosts = new WeakMap<FastifyRequest, KnownHost>();
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
          const enrolled = await enrol(context.store, request.body, context.clock);
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
        logLevel: 'warn',
        schema: {
          tags: ['hosts'],
          summary: 'What a host saw of itself',
          security: [{ host: [] }],
          body: Report,
          response: { 200: ReportResponse, 401: ApiError, 429: ApiError },
        },
        // Before the body is read: a request without a token costs no more than a look-up.
        onRequest: async (request) => {
          const host = await requireHost(context, request);
          context.reports.charge(host.id);
          hosts.set(request, host);
        },
      },
      async (request) => {
        const host = hosts.get(request) ?? (await requireHost(context, request));
        const report = request.body;
        const newest = Math.max(host.sequence, context.seen.sequenceOf(host.id));
        if (report.sequence > newest) {
          const digest = reportDigest(report);
          const at = context.clock.now().toISOString();
          if (digest === host.digest && report.events.length === 0) {
            context.seen.add(host.id, { sequence: report.sequence, at });
          } else {
            await context.writer.write({ hostId: host.id, report, digest, at });
          }
        }
        return {
          nextReportSeconds: REPORT_SECONDS,
          channel: host.channel,
          newest: Math.max(newest, report.sequence),
        };
      },
    );
  };
}
