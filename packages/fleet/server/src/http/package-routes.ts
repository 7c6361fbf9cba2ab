import fastifyStatic from '@fastify/static';
import { PackageFormat } from '@kmend/protocol/packages';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ServerError } from '../error.ts';
import { contentType } from '../package-repository/kinds.ts';
import { askedPath } from '../package-repository/names.ts';
import type { AppContext } from './context.ts';
import { packageGate } from './package-gate.ts';

/** Where package managers find their repository. */
export const PACKAGES_PREFIX = '/packages/';
export const PACKAGES_ROUTE = `${PACKAGES_PREFIX}:format/*`;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Errors are one readable text, not JSON. */
    plainErrors?: true;
  }
}

const Params = z.object({ format: PackageFormat, '*': z.string() });

/** The files of package repositories, for clients with an activation key. */
export function packageRoutes(context: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const app = instance.withTypeProvider<ZodTypeProvider>();
    // For `sendFile`: conditional requests, ranges.
    await app.register(fastifyStatic, { serve: false });
    app.route({
      method: ['GET', 'HEAD'],
      url: PACKAGES_ROUTE,
      logLevel: 'warn',
      config: { plainErrors: true },
      schema: {
        tags: ['packages'],
        summary: 'A file of a package repository; text on errors',
        security: [{ activationKey: [] }, {}],
        params: Params,
      },
      onRequest: async (request, reply) => packageGate(context, request, reply),
      handler: async (request, reply) => {
        const { format, '*': name } = request.params;
        const path = askedPath(name);
        const found = path === undefined ? undefined : await context.packages[format].find(path);
        if (path === undefined || found === undefined) throw missing(context, format);
        const who = context.openPackages ? 'public' : 'private';
        reply
          .type(contentType(path))
          .header('cache-control', found.immutable ? `${who}, max-age=31536000, immutable` : 'no-cache');
        return reply.sendFile(path, found.root, { contentType: false, cacheControl: false });
      },
    });
  };
}

function missing({ packages }: AppContext, format: PackageFormat): ServerError {
  if (packages[format].published) return new ServerError('not-found', `the ${format} repository has no such file`);
  return new ServerError('not-found', `no ${format} repository has been published here`, {
    hint: `ask the operator to publish one with kmend repo ${format}`,
  });
}

/** Labels of metrics: a fixed set, whatever clients send. */
export function formatOf(request: FastifyRequest): PackageFormat | 'none' {
  return Params.pick({ format: true }).safeParse(request.params).data?.format ?? 'none';
}
