import fastifyStatic from '@fastify/static';
import { sha256 } from '@kmend/base/node';
import type { FastifyInstance } from 'fastify';
import type { AppContext } from './context.ts';
import { matchesTag } from './etag.ts';

/** Where the signed repository is served; any web server could do the same. */
export const REPOSITORY_PREFIX = '/repository/';

/** The repository's static files: metadata asks to be revalidated, targets never change under their name. */
export function repositoryRoutes({ repository, repositoryDirectory }: AppContext) {
  return async (app: FastifyInstance): Promise<void> => {
    // Every host requests this at every check: answered from memory.
    let served = { text: '', etag: '' };
    app.get(
      `${REPOSITORY_PREFIX}metadata/timestamp.json`,
      { logLevel: 'warn', schema: { hide: true } },
      (request, reply) => {
        const text = repository.timestampText;
        if (served.text !== text) served = { text, etag: `"${sha256(text).slice(0, 22)}"` };
        reply.header('etag', served.etag).header('cache-control', 'no-cache');
        if (matchesTag(request.headers['if-none-match'], served.etag)) reply.code(304).send();
        else reply.type('application/json').send(served.text);
      },
    );
    await app.register(fastifyStatic, {
      root: repositoryDirectory,
      prefix: REPOSITORY_PREFIX,
      decorateReply: false,
      index: false,
      dotfiles: 'deny',
      cacheControl: false,
      logLevel: 'warn',
      schemaHide: true,
      setHeaders(reply, path) {
        const target = path.startsWith(`${repositoryDirectory}/targets/`);
        reply.header('cache-control', target ? 'public, max-age=31536000, immutable' : 'no-cache');
      },
    });
  };
}
