import { createHash, randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  ApiError,
  NextKeysRequest,
  NextKeysResponse,
  PublishRequest,
  PublishResponse,
  RotateRequest,
  RotateResponse,
  Sha256,
  UploadResponse,
} from '@kmend/protocol';
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ServerError } from '../error.ts';
import { storeLivepatch } from '../store/livepatches.ts';
import type { AppContext } from './context.ts';

/** Bytes of one uploaded file, and of a publication's metadata. */
export const MAX_UPLOAD = 64 * 2 ** 20;
const MAX_PUBLISH = 10 * 2 ** 20;
/** Bytes: all kernels' roles at once. */
const MAX_ROTATION = 256 * 2 ** 20;

const operator = { security: [{ operator: [] }], tags: ['publish'] };

/** Uploads by content, then the signed metadata that names them. */
export function publishRoutes(context: AppContext) {
  return async (instance: FastifyInstance): Promise<void> => {
    const app = instance.withTypeProvider<ZodTypeProvider>();
    // The body stays a stream: it goes to disk as it comes.
    app.addContentTypeParser('application/octet-stream', async (_request: unknown, payload: Readable) => payload);

    app.put(
      '/v1/uploads/:sha256',
      {
        bodyLimit: MAX_UPLOAD,
        schema: {
          ...operator,
          summary: 'Raw bytes, application/octet-stream, at most 64 MiB',
          params: z.object({ sha256: Sha256 }),
          response: { 200: UploadResponse, 413: ApiError, 422: ApiError },
        },
      },
      async (request) => {
        const { sha256 } = request.params;
        if (!isReadable(request.body)) {
          throw new ServerError('bad-request', 'an upload needs content-type application/octet-stream');
        }
        return { sha256, size: await receive(request.body, context.uploads, sha256) };
      },
    );

    app.post(
      '/v1/publish',
      {
        bodyLimit: MAX_PUBLISH,
        schema: {
          ...operator,
          body: PublishRequest,
          response: { 200: PublishResponse, 409: ApiError, 422: ApiError },
        },
      },
      async (request) => {
        const upload = (sha256: string): string => join(context.uploads, Sha256.parse(sha256));
        const published = await context.repository.acceptPublication(request.body, upload);
        const { livepatch, description } = published;
        await storeLivepatch(context.store, livepatch, description, context.clock);
        for (const sha256 of Object.values(request.body.targets)) await rm(upload(sha256), { force: true });
        const { serial, reason } = description;
        request.log.info({ buildId: request.body.buildId, serial, id: livepatch.id, reason }, 'published');
        return {
          serial: description.serial,
          snapshotVersion: published.snapshot,
          timestampVersion: published.timestamp,
        };
      },
    );

    app.post(
      '/v1/signing-keys',
      {
        schema: {
          ...operator,
          summary: 'New keys for roles that the server signs; they count once a rotation names them',
          body: NextKeysRequest,
          response: { 200: NextKeysResponse },
        },
      },
      async (request) => ({ keys: await context.repository.prepareKeys(request.body.roles) }),
    );

    app.post(
      '/v1/rotate',
      {
        bodyLimit: MAX_ROTATION,
        schema: {
          ...operator,
          summary: 'Offline roles signed again: for longer, with other keys, with another floor',
          body: RotateRequest,
          response: { 200: RotateResponse, 409: ApiError, 422: ApiError },
        },
      },
      async (request) => {
        const versions = await context.repository.acceptRotation(request.body);
        request.log.info({ roles: Object.keys(request.body.metadata), ...versions }, 'offline roles signed again');
        return { snapshotVersion: versions.snapshot, timestampVersion: versions.timestamp };
      },
    );
  };
}

function isReadable(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}

/**
 * Writes a body beside its place, bounded and hashed on the way; nothing stays of one that is not what it should be.
 */
async function receive(body: Readable, directory: string, sha256: string): Promise<number> {
  const path = join(directory, sha256);
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const hash = createHash('sha256');
  let size = 0;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      // Ending it early must not close the connection: the answer is sent on it.
      for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > MAX_UPLOAD) throw new ServerError('too-large', `the upload is larger than ${MAX_UPLOAD} bytes`);
        hash.update(chunk);
        await handle.writeFile(chunk);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    const actual = hash.digest('hex');
    if (actual !== sha256) {
      throw new ServerError('upload-mismatch', `the upload has SHA-256 ${actual}, not ${sha256}`, {
        hint: 'it was damaged in transit: upload it again',
      });
    }
    await rename(temporary, path);
    return size;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
