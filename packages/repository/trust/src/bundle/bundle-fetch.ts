import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { fileChunks, fileResponse } from '../client/file-body.ts';
import { MAX_MODULE } from '../client/livepatch.ts';
import { requestPath } from '../client/request-path.ts';
import type { Fetch } from '../client/transfer.ts';
import { TrustError } from '../error.ts';

/** Bytes and entries of a bundle: hundreds of kernels. */
const MAX_BUNDLE = 8 * 2 ** 30;
const MAX_ENTRIES = 16_384;
/** A tar archive ends with two blocks of zeros (POSIX pax, "ustar Interchange Format"). */
const TRAILER = 1024;

interface Place {
  readonly offset: number;
  readonly size: number;
}

/** What a bundle holds, by its names in the repository, and the file that was read. */
interface Index {
  readonly identity: string;
  readonly places: ReadonlyMap<string, Place>;
}

/** tar-stream 3.2 says where an entry's content begins; its types do not. */
type EntryHeader = Header & { readonly byteOffset: number };

/**
 * Answers a `RepositoryClient`'s requests from a bundle (bundle/create.ts), for hosts without a network. Give that
 * client a `url` such as `bundle:///`. A bundle that is replaced meanwhile is read again. It is as untrusted as any
 * mirror, and must hold plain files only, each once, under names that a repository has: `repository-garbage` otherwise.
 */
export function bundleFetch(path: string): Fetch {
  let index: Index | undefined;
  return async (url, { signal }) => {
    signal.throwIfAborted();
    const name = requestPath(url).join('/');
    const file = await openBundle(path);
    try {
      const identity = await identify(file);
      if (index?.identity !== identity) index = { identity, places: await readIndex(path, file) };
      const place = index.places.get(name);
      if (place !== undefined) return fileResponse(file, place.offset, place.size);
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    return new Response(null, { status: 404 });
  };
}

async function openBundle(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const about = await file.stat();
  if (about.isFile() && about.size <= MAX_BUNDLE) return file;
  await file.close();
  throw garbage(path, about.isFile() ? `larger than the ${MAX_BUNDLE} bytes allowed` : 'not a regular file');
}

async function identify(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeMs, ctimeMs } = await file.stat();
  return [dev, ino, size, mtimeMs, ctimeMs].join(' ');
}

async function readIndex(path: string, file: FileHandle): Promise<ReadonlyMap<string, Place>> {
  const { size } = await file.stat();
  const trailer = Buffer.concat(await Array.fromAsync(fileChunks(file, Math.max(0, size - TRAILER), TRAILER)));
  if (trailer.length < TRAILER || trailer.some((byte) => byte !== 0))
    throw garbage(path, 'cut off, or not a tar archive');
  const places = new Map<string, Place>();
  const archive = extract();
  archive.on('entry', (header, body, next) => {
    const { name, type, byteOffset, size: length, pax } = header as EntryHeader;
    // It fails together with the archive, whose error the pipeline below rejects with.
    body.on('error', () => undefined);
    const reason =
      refusal(name, type, length) ??
      (places.has(name) ? 'twice in it' : undefined) ??
      (places.size >= MAX_ENTRIES ? `one of more than ${MAX_ENTRIES} files` : undefined) ??
      // An extended header can say anything of the entry after it; a bundle needs it for names beyond 100 characters.
      (Object.keys(pax ?? {}).every((key) => key === 'path') ? undefined : 'described by an extended header') ??
      (byteOffset + length <= size ? undefined : 'longer than the archive');
    if (reason !== undefined)
      return archive.destroy(garbage(path, `not a bundle: ${JSON.stringify(name)} is ${reason}`));
    places.set(name, { offset: byteOffset, size: length });
    body.on('end', next);
    body.resume();
  });
  try {
    await pipeline(file.createReadStream({ start: 0, autoClose: false }), archive);
  } catch (cause) {
    if (cause instanceof TrustError) throw cause;
    throw garbage(path, `not a tar archive: ${(cause as Error).message}`, cause);
  }
  return places;
}

function refusal(name: string, type: string | null | undefined, size: number): string | undefined {
  if (type !== 'file') return `a ${type ?? 'thing of unknown kind'}, not a file`;
  try {
    const [kind] = requestPath(`bundle:///${name}`);
    if (kind !== 'metadata' && kind !== 'targets') return 'no file of a repository';
  } catch {
    return 'no file of a repository';
  }
  return Number.isSafeInteger(size) && size >= 0 && size <= MAX_MODULE ? undefined : `${size} bytes long`;
}

function garbage(path: string, reason: string, cause?: unknown): TrustError {
  return new TrustError('repository-garbage', `${path} is ${reason}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'make the bundle again with kmend repo bundle, and carry it over whole',
  });
}
