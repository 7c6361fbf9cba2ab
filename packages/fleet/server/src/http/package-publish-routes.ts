import type { Readable } from 'node:stream';
import { ApiError } from '@kmend/protocol';
import { PackageFormat, PackageSeats, PublishPackagesResponse } from '@kmend/protocol/packages';
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ServerError } from '../error.ts';
import { packageSeats } from '../store/package-hosts.ts';
import type { AppContext } from './context.ts';
import { LONGEST_REQUEST_MS } from './request-time.ts';

const operator = { security: [{ operator: [] }], tags: ['packages'] };

/** The operator's side of package repositories: written and signed elsewhere, they come here whole. */
export function packagePublishRoutes({ packages, store, clock }: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const app = instance.withTypeProvider<ZodTypeProvider>();
    // The body stays a stream: it is unpacked as it comes.
    app.addContentTypeParser(
      ['application/x-tar', 'application/octet-stream'],
      async (_request: unknown, payload: Readable) => payload,
    );

    app.put(
      '/v1/packages/:format',
      {
        config: { requestTimeMs: LONGEST_REQUEST_MS },
        schema: {
          ...operator,
          summary: 'A whole repository as one tar stream, application/x-tar, at most 8 GiB',
          params: z.object({ format: PackageFormat }),
          response: { 200: PublishPackagesResponse, 409: ApiError, 413: ApiError, 422: ApiError },
        },
      },
      async (request) => {
        const { body, log } = request;
        if (!isReadable(body)) throw new ServerError('bad-request', 'the upload needs content-type application/x-tar');
        const published = await packages[request.params.format].replace(body);
        log.info(published, 'packages published');
        return published;
      },
    );

    app.get(
      '/v1/packages/seats',
      { schema: { ...operator, summary: 'Machines that fetch packages', response: { 200: PackageSeats } } },
      async () => packageSeats(store, clock),
    );
  };
}

function isReadable(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}
