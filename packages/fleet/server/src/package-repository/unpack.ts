import { createHash } from 'node:crypto';
import { link, mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { errorText, KmendError } from '@kmend/base';
import { sha256File } from '@kmend/base/node';
import { type Extract, extract, type Header } from 'tar-stream';
import { ServerError } from '../error.ts';
import { packagePath } from './names.ts';

export interface Limits {
  /** Bytes of the whole archive. */
  readonly archive: number;
  /** Bytes of one file. */
  readonly file: number;
  readonly files: number;
}

export interface UnpackOptions {
  readonly limits: Limits;
  /** Modification time of every file that is new. */
  readonly at: Date;
  /** The repository before: a file that is the same there becomes a link to it, and keeps its time. */
  readonly previous: string | undefined;
}

export interface Unpacked {
  readonly files: number;
  readonly bytes: number;
  readonly unchanged: number;
}

/** A tar archive ends with two blocks of zeros (POSIX pax, "ustar Interchange Format"). */
const TRAILER = 1024;

/** What an extended header may say of the entry after it: names beyond 100 characters need one. */
const EXTENDED = new Set(['path']);

type Entry = Header & { readonly pax?: Readonly<Record<string, string>> | null };

/**
 * Unpacks a tar stream into an empty folder: plain files only, each once, under names of a repository. Throws the
 * `tar-` codes. A stream that is refused is read to its end all the same, as far as one may be long, so that the sender
 * receives the reason.
 */
export async function unpack(body: Readable, folder: string, options: UnpackOptions): Promise<Unpacked> {
  const archive = extract();
  // It fails what reads from it.
  archive.on('error', () => undefined);
  const sent = send(body, archive, options.limits.archive).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    return await receive(archive, folder, options);
  } catch (cause) {
    archive.destroy(cause as Error);
    const failure = await sent;
    if (cause instanceof KmendError) throw cause;
    if (failure instanceof KmendError || isSystemError(failure)) throw failure;
    if (isSystemError(cause)) throw cause;
    throw damaged(errorText(cause), cause);
  }
}

/** Hands the stream over to the archive, which is only as good as its end. */
async function send(body: Readable, archive: Extract, limit: number): Promise<void> {
  let size = 0;
  let tail: Buffer = Buffer.alloc(0);
  try {
    // Ended early, it must not take the connection with it.
    for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw new ServerError('tar-too-large', `the repository is larger than ${limit} bytes`);
      tail = (chunk.length < TRAILER ? Buffer.concat([tail, chunk]) : chunk).subarray(-TRAILER);
      if (!archive.destroying && !archive.write(chunk)) await drained(archive);
    }
    if (tail.length < TRAILER || tail.some((byte) => byte !== 0)) throw damaged('it is cut off');
    archive.end(null);
  } catch (error) {
    archive.destroy(error as Error);
    throw error;
  }
}

function drained(archive: Extract): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      archive.off('drain', done);
      archive.off('close', done);
      resolve();
    };
    archive.on('drain', done);
    archive.on('close', done);
  });
}

async function receive(archive: Extract, folder: string, options: UnpackOptions): Promise<Unpacked> {
  const taken = new Taken();
  let [entries, files, bytes, unchanged] = [0, 0, 0, 0];
  for await (const entry of archive) {
    const header = entry.header as Entry;
    entries += 1;
    if (entries > options.limits.files) {
      throw new ServerError('tar-too-many-files', `the repository has more than ${options.limits.files} files`);
    }
    const path = acceptable(header, options.limits);
    if (path !== undefined) {
      taken.add(path);
      const same = await writeEntry(entry as AsyncIterable<Uint8Array>, path, folder, options);
      files += 1;
      bytes += header.size;
      unchanged += same ? 1 : 0;
    }
    entry.resume();
  }
  return { files, bytes, unchanged };
}

/** Path of a file; `undefined` for a folder, which is made with the first file in it. */
function acceptable({ name, type, size, pax }: Entry, limits: Limits): string | undefined {
  const said = JSON.stringify(name.slice(0, 240));
  if (type === 'directory') {
    const path = name.replace(/\/+$/, '');
    if (path !== '.') packagePath(path);
    return undefined;
  }
  if (type === 'link' || type === 'symlink') {
    throw new ServerError('tar-link', `${said} is a link`, { hint: 'pack with tar --dereference --hard-dereference' });
  }
  if (type !== 'file') throw new ServerError('tar-special', `${said} is neither a file nor a folder`);
  if (!Object.keys(pax ?? {}).every((key) => EXTENDED.has(key))) {
    throw new ServerError('tar-extended', `${said} is described by an extended header`, {
      hint: 'pack with tar --format=gnu or --format=ustar',
    });
  }
  if (size > limits.file) throw new ServerError('tar-file-too-large', `${said} has more than ${limits.file} bytes`);
  return packagePath(name);
}

/** Paths so far: no file twice, and none where others have a folder. */
class Taken {
  readonly #files = new Set<string>();
  readonly #folders = new Set<string>();

  /** Throws `tar-duplicate`. */
  add(path: string): void {
    const folders: string[] = [];
    for (let above = dirname(path); above !== '.'; above = dirname(above)) folders.push(above);
    if (this.#files.has(path) || this.#folders.has(path) || folders.some((above) => this.#files.has(above))) {
      throw new ServerError(
        'tar-duplicate',
        `${JSON.stringify(path)} is in the archive twice, or as a file and a folder`,
      );
    }
    this.#files.add(path);
    for (const above of folders) this.#folders.add(above);
  }
}

/** Says whether the repository before has the same file. */
async function writeEntry(
  entry: AsyncIterable<Uint8Array>,
  path: string,
  folder: string,
  { at, previous }: UnpackOptions,
): Promise<boolean> {
  const target = join(folder, path);
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  const hash = createHash('sha256');
  let size = 0;
  const handle = await open(target, 'wx', 0o644);
  try {
    for await (const chunk of entry) {
      hash.update(chunk);
      size += chunk.length;
      await handle.writeFile(chunk);
    }
    await handle.utimes(at, at);
  } finally {
    await handle.close();
  }
  const before = join(previous ?? folder, path);
  const about = previous === undefined ? undefined : await stat(before).catch(() => undefined);
  if (about === undefined || !about.isFile() || about.size !== size) return false;
  if ((await sha256File(before)) !== hash.digest('hex')) return false;
  await rm(target);
  await link(before, target);
  return true;
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

function damaged(reason: string, cause?: unknown): ServerError {
  return new ServerError('tar-damaged', `the tar archive is damaged: ${reason}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'upload it again',
  });
}
