import {
  ActivationKey,
  ApiError,
  BuildId,
  ChangeFleetPolicy,
  ChangeKernelPolicy,
  CreateKeyRequest,
  CreateKeyResponse,
  FleetPolicy,
  HostDetail,
  HostId,
  HostPage,
  HostQuery,
  ImportReportResponse,
  KernelPolicy,
  KeyList,
  LivepatchList,
  ReportFile,
} from '@kmend/protocol';
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ServerError } from '../error.ts';
import { carriedAt } from '../fleet/ingest.ts';
import { beginsPolicy, changedFleetPolicy, changedPolicy } from '../fleet/policy.ts';
import { silentSince } from '../fleet/presence.ts';
import { hostById, listHosts, removeHost, resetHost, showHost } from '../store/hosts.ts';
import { createKey, listKeys, revokeKey } from '../store/keys.ts';
import { listLivepatches } from '../store/livepatches.ts';
import { requireOperator } from './auth.ts';
import type { AppContext } from './context.ts';
import { packagePublishRoutes } from './package-publish-routes.ts';
import { publishRoutes } from './publish-routes.ts';
import { MAX_REPORT_FILE } from './report-writer.ts';
import { takeReport } from './take-report.ts';

/** Routes of the operator. Every route below needs the operator's token. */
export function operatorRoutes(context: AppContext) {
  return async (app: FastifyInstance): Promise<void> => {
    app.addHook('onRequest', async (request) => requireOperator(context, request));
    await app.register(keyRoutes(context));
    await app.register(hostRoutes(context));
    await app.register(policyRoutes(context));
    await app.register(publishRoutes(context));
    await app.register(packagePublishRoutes(context));
  };
}

const operator = { security: [{ operator: [] }] };
const KeyId = z.object({ id: z.uuid() });

function keyRoutes({ store, clock, times: { seatMs } }: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const app = instance.withTypeProvider<ZodTypeProvider>();
    app.post(
      '/v1/keys',
      { schema: { ...operator, tags: ['keys'], body: CreateKeyRequest, response: { 201: CreateKeyResponse } } },
      async (request, reply) => reply.code(201).send(await createKey(store, request.body, clock, seatMs)),
    );
    app.get('/v1/keys', { schema: { ...operator, tags: ['keys'], response: { 200: KeyList } } }, async () => ({
      keys: await listKeys(store, clock, seatMs),
    }));
    app.post(
      '/v1/keys/:id/revoke',
      { schema: { ...operator, tags: ['keys'], params: KeyId, response: { 200: ActivationKey, 404: ApiError } } },
      async (request) => revokeKey(store, request.params.id, clock, seatMs),
    );
  };
}

function hostRoutes(context: AppContext) {
  const { store, clock, times, unchanged } = context;
  return async (instance: FastifyInstance): Promise<void> => {
    const app = instance.withTypeProvider<ZodTypeProvider>();
    const params = z.object({ id: HostId });
    app.get(
      '/v1/hosts',
      { schema: { ...operator, tags: ['hosts'], querystring: HostQuery, response: { 200: HostPage } } },
      async (request) => listHosts(store, request.query, silentSince(times, clock)),
    );
    app.get(
      '/v1/hosts/:id',
      { schema: { ...operator, tags: ['hosts'], params, response: { 200: HostDetail, 404: ApiError } } },
      async (request) => showHost(store, request.params.id, silentSince(times, clock)),
    );
    app.post(
      '/v1/hosts/reports',
      {
        bodyLimit: MAX_REPORT_FILE + REPORT_FILE_FRAME,
        schema: {
          ...operator,
          tags: ['hosts'],
          summary: 'A report carried by hand from a host without a network',
          body: ReportFile,
          response: { 200: ImportReportResponse, 404: ApiError },
        },
      },
      async (request) => importReport(context, request.body),
    );
    app.delete(
      '/v1/hosts/:id',
      { schema: { ...operator, tags: ['hosts'], params, response: { 204: z.undefined(), 404: ApiError } } },
      async (request, reply) => {
        await removeHost(store, request.params.id, clock);
        unchanged.forget(request.params.id);
        return reply.code(204).send();
      },
    );
    app.post(
      '/v1/hosts/:id/reset',
      {
        schema: {
          ...operator,
          tags: ['hosts'],
          summary: 'Resets the count of its reports, and forgets which other machines reported as it',
          params,
          response: { 204: z.undefined(), 404: ApiError },
        },
      },
      async (request, reply) => {
        unchanged.forget(request.params.id);
        await resetHost(store, request.params.id);
        return reply.code(204).send();
      },
    );
  };
}

/** Bytes of a report file beside the report. */
const REPORT_FILE_FRAME = 1024;

/** Takes a report that a person carried here as the host itself would send it. Throws `not-found`. */
async function importReport(context: AppContext, { hostId, report }: ReportFile): Promise<ImportReportResponse> {
  const host = await hostById(context.store, hostId);
  if (host === undefined) {
    throw new ServerError('not-found', `no host ${hostId} (${report.facts.hostname}) is enrolled here`, {
      hint: 'it was removed, or belongs to another server: import the file there, or enrol the host here and make a new report',
    });
  }
  const { kind, newest } = await takeReport(context, host, report, carriedAt(report, context.clock.now()));
  const stored = kind === 'news' || kind === 'same';
  return { stored, newest, ...(kind === 'number-used' ? { numberUsed: true } : {}) };
}

function policyRoutes({ store, repository }: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const app = instance.withTypeProvider<ZodTypeProvider>();
    const params = z.object({ buildId: BuildId });
    app.get(
      '/v1/livepatches',
      { schema: { ...operator, tags: ['livepatches'], response: { 200: LivepatchList } } },
      async () => ({ livepatches: await listLivepatches(store) }),
    );
    app.get(
      '/v1/policy/fleet',
      { schema: { ...operator, tags: ['policy'], response: { 200: FleetPolicy } } },
      async () => repository.fleetPolicy(),
    );
    app.put(
      '/v1/policy/fleet',
      { schema: { ...operator, tags: ['policy'], body: ChangeFleetPolicy, response: { 200: FleetPolicy } } },
      async (request) => {
        await repository.setFleetPolicy((before) => changedFleetPolicy(before, request.body));
        return repository.fleetPolicy();
      },
    );
    const kernelPolicy = async (buildId: string): Promise<KernelPolicy> => {
      const policy = await repository.kernelPolicy(buildId);
      if (policy === undefined) throw new ServerError('not-found', `kernel ${buildId} has no livepatch and no policy`);
      return policy;
    };
    app.get(
      '/v1/policy/kernels/:buildId',
      { schema: { ...operator, tags: ['policy'], params, response: { 200: KernelPolicy, 404: ApiError } } },
      async (request) => kernelPolicy(request.params.buildId),
    );
    app.put(
      '/v1/policy/kernels/:buildId',
      {
        schema: { ...operator, tags: ['policy'], params, body: ChangeKernelPolicy, response: { 200: KernelPolicy } },
      },
      async (request) => {
        const { buildId } = request.params;
        if (!beginsPolicy(request.body)) await kernelPolicy(buildId);
        await repository.setKernelPolicy(buildId, (before) => changedPolicy(before, request.body));
        return kernelPolicy(buildId);
      },
    );
  };
}
