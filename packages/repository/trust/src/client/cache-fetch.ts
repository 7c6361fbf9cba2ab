import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import * as z from 'zod';
import { TrustError } from '../error.ts';
import { fileChunks, fileResponse } from './file-body.ts';
import { MAX_MODULE } from './livepatch.ts';
import { type ForeignDirectory, foreignDirectory } from './regular-file.ts';
import { requestPath } from './request-path.ts';
import { METADATA_MAX_LENGTH } from './transaction.ts';
import type { Fetch } from './transfer.ts';

const GENERATION = /^metadata\/(g-[0-9a-f]{1,64})$/;
const ROOT = /^\d+\.root\.json$/;
const VERSIONED = /^(\d{1,15})\.(.+\.json)$/;
const HASHED = /^([0-9a-f]{64}|[0-9a-f]{128})\.(.+)$/;

/** Enough of signed metadata to tell its version. */
const Versioned = z.object({ signed: z.object({ version: z.number() }) });

/**
 * Answers a `RepositoryClient`'s requests from another client's directory (client/cache.ts has its layout), so that a
 * second process runs the whole TUF workflow again over what a first, less trusted one downloaded. Give that client a
 * `url` such as `cache:///`.
 *
 * A cache holds one version of each file. What is not there in the version, or with the hash, that is asked for is not
 * there (404), as when the first client moves on meanwhile; whether it is genuine is for the second client to say. The
 * directory's owner is not trusted: anything but plain files in plain directories is refused with `repository-garbage`.
 */
export function cacheFetch(directory: string): Fetch {
  const folder = foreignDirectory(directory);
  /** Where the workflow under way began: its other files should be of the same moment. */
  let begun: string | undefined;

  async function openMetadata(name: string): Promise<Found> {
    const current = await currentGeneration(folder);
    if (name === 'timestamp.json' || begun === undefined) begun = current;
    // Delegated roles come into the cache after the timestamp, with a generation of their own.
    for (const generation of new Set([begun, current])) {
      if (generation === undefined) continue;
      const found = await openVersion(folder, generation, name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  return async (url, { signal }) => {
    signal.throwIfAborted();
    const [kind, ...parts] = requestPath(url);
    const [name] = parts;
    let found: Found;
    if (kind === 'metadata' && name !== undefined && parts.length === 1) found = await openMetadata(name);
    if (kind === 'targets' && parts.length > 0) found = await openTarget(folder, parts);
    return found === undefined ? new Response(null, { status: 404 }) : answer(found);
  };
}

/** A whole small file, or one still to be read. */
type Found = Buffer<ArrayBuffer> | FileHandle | undefined;

async function currentGeneration(folder: ForeignDirectory): Promise<string | undefined> {
  const link = await folder.readLink('current');
  if (link === undefined) return undefined;
  const generation = GENERATION.exec(link)?.[1];
  if (generation !== undefined) return generation;
  throw new TrustError('repository-garbage', 'current points to something that is no generation of the cache');
}

async function openVersion(folder: ForeignDirectory, generation: string, name: string): Promise<Found> {
  // The cache keeps every root by its version and all else without one.
  const [, version, plain] = (ROOT.test(name) ? null : VERSIONED.exec(name)) ?? [undefined, undefined, name];
  const file = await folder.openFile(['metadata', generation, plain ?? name]);
  // Beyond what any metadata may have, the client's own bound has the last word.
  if (file === undefined || version === undefined || (await file.stat()).size > METADATA_MAX_LENGTH) return file;
  const bytes = await readBounded(file, METADATA_MAX_LENGTH).finally(() => file.close());
  return versionOf(bytes) === Number(version) ? bytes : undefined;
}

/** The version that metadata gives itself; `undefined` where it is torn. */
function versionOf(bytes: Buffer): number | undefined {
  try {
    return Versioned.parse(JSON.parse(bytes.toString())).signed.version;
  } catch {
    return undefined;
  }
}

async function openTarget(folder: ForeignDirectory, parts: readonly string[]): Promise<Found> {
  const last = parts.at(-1) ?? '';
  const [, hash, plain] = HASHED.exec(last) ?? [undefined, undefined, last];
  const file = await folder.openFile(['targets', ...parts.slice(0, -1), plain ?? last]);
  if (file === undefined || hash === undefined || (await file.stat()).size > MAX_MODULE) return file;
  const digest = createHash(hash.length === 64 ? 'sha256' : 'sha512');
  try {
    for await (const chunk of fileChunks(file, 0, MAX_MODULE + 1)) digest.update(chunk);
    if (digest.digest('hex') === hash) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return undefined;
}

/** At most a byte beyond the limit: its owner may be writing to it. */
async function readBounded(file: FileHandle, limit: number): Promise<Buffer<ArrayBuffer>> {
  return Buffer.concat(await Array.fromAsync(fileChunks(file, 0, limit + 1)));
}

function answer(found: NonNullable<Found>): Response {
  return Buffer.isBuffer(found) ? new Response(found) : fileResponse(found);
}
