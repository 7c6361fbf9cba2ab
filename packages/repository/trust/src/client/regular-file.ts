import { constants } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';
import { TrustError } from '../error.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** A directory that another, less trusted user owns: nothing in it leads out of it, blocks, or is more than a file. */
export interface ForeignDirectory {
  /**
   * A regular file; `undefined` where there is none. The caller closes it. Throws `repository-garbage` for anything
   * else.
   */
  openFile(parts: readonly string[]): Promise<FileHandle | undefined>;
  /** Where a symbolic link in the directory itself points, unfollowed; `undefined` where there is none. */
  readLink(name: string): Promise<string | undefined>;
}

/**
 * Node has no openat(2), but `/proc/self/fd/N/name` is one: each part is opened in the directory that is already held
 * open, so no part that was already passed can be swapped for a symbolic link. Only the directory's own parents are
 * trusted.
 */
export function foreignDirectory(directory: string): ForeignDirectory {
  return {
    async openFile(parts) {
      const folders = parts.slice(0, -1);
      let folder = await openPart(directory, O_DIRECTORY, directory);
      for (const part of folders) {
        if (folder === undefined) return undefined;
        folder = await within(folder, (path) => openPart(`${path}/${part}`, O_DIRECTORY, part));
      }
      if (folder === undefined) return undefined;
      const name = parts.at(-1) ?? '';
      const file = await within(folder, (path) => openPart(`${path}/${name}`, O_NONBLOCK, name));
      return file === undefined ? undefined : requireRegular(file, name);
    },
    async readLink(name) {
      const folder = await openPart(directory, O_DIRECTORY, directory);
      if (folder === undefined) return undefined;
      return within(folder, (path) =>
        readlink(`${path}/${name}`).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return undefined;
          throw error.code === 'EINVAL' ? foreign(name, 'not a symbolic link') : error;
        }),
      );
    },
  };
}

async function openPart(path: string, flags: number, name: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, O_RDONLY | O_NOFOLLOW | flags);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    // A symbolic link; a file where a directory should be; a socket.
    if (code === 'ELOOP') throw foreign(name, 'a symbolic link');
    if (code === 'ENOTDIR') throw foreign(name, 'not a directory');
    if (code === 'ENXIO') throw foreign(name, 'not a regular file');
    throw error;
  }
}

/** Runs work in an open directory and closes it. */
async function within<T>(folder: FileHandle, work: (path: string) => Promise<T>): Promise<T> {
  try {
    return await work(`/proc/self/fd/${folder.fd}`);
  } finally {
    await folder.close();
  }
}

async function requireRegular(file: FileHandle, name: string): Promise<FileHandle> {
  const about = await file.stat();
  // A second name may be a link to a file that only the reader may read.
  if (about.isFile() && about.nlink === 1) return file;
  await file.close();
  throw foreign(name, about.isFile() ? 'a file with several names' : 'not a regular file');
}

function foreign(name: string, what: string): TrustError {
  return new TrustError('repository-garbage', `${name} is ${what}`, {
    hint: 'the cache holds a file that its owner never writes: find out who wrote it',
  });
}
