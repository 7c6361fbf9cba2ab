import { constants } from 'node:fs';
import { type FileHandle, open, rm, statfs } from 'node:fs/promises';
import { errorText } from '@kmend/base';
import { AgentError } from '../error.ts';

/** Bytes of a bundle that is taken; of what its copy may fill, half is left to others. */
const MAX_BUNDLE = 2 * 2 ** 30;
const CHUNK = 1 << 20;

/**
 * Lays a bundle that was carried here where the fetcher may read it (`place`, 0644), for as long as `work` takes. Only
 * a regular file, of a size that is bounded before anything is copied. Throws `bundle-unreadable`.
 */
export async function withCarried<T>(path: string, place: string, work: () => Promise<T>): Promise<T> {
  const source = await openSource(path);
  try {
    await rm(place, { force: true });
    await copy(source, path, place);
    return await work();
  } finally {
    await source.close();
    await rm(place, { force: true });
  }
}

async function openSource(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw unreadable(`${path} cannot be read: ${errorText(cause)}`, cause);
  }
}

async function copy(source: FileHandle, path: string, place: string): Promise<void> {
  const about = await source.stat();
  if (!about.isFile()) throw unreadable(`${path} is not a regular file`);
  const target = await open(place, 'wx', 0o600);
  try {
    const { bavail, bsize } = await statfs(place);
    const most = Math.min(MAX_BUNDLE, (bavail * bsize) / 2);
    if (about.size > most)
      throw unreadable(`${path} has ${about.size} bytes, and at most ${Math.floor(most)} are taken`);
    // No more than it had when its size was read: another process may be writing to it.
    for (let at = 0; at < about.size; ) {
      const { bytesRead, buffer } = await source.read(Buffer.alloc(CHUNK), 0, Math.min(CHUNK, about.size - at), at);
      if (bytesRead === 0) break;
      await target.writeFile(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    await target.chmod(0o644);
  } finally {
    await target.close();
  }
}

function unreadable(message: string, cause?: unknown): AgentError {
  return new AgentError('bundle-unreadable', message, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'give a file that `kmend repo bundle` made',
  });
}
