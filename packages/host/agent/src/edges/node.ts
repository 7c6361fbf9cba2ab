import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rename, rm, stat } from 'node:fs/promises';
import { arch, hostname, release, version } from 'node:os';
import { join } from 'node:path';
import { run, systemClock, writeFileAtomic } from '@kmend/base/node';
import { foreignDirectory } from '@kmend/trust/foreign';
import { findCode } from '../error.ts';
import type { Edges, Files } from './edges.ts';
import { paths } from './paths.ts';

const DEFAULT_LIMIT = 1_000_000;
const CHUNK = 65_536;
/** Where the fetcher may put whatever it likes. */
const FOREIGN = [paths.fetcher, paths.fetcherRuntime];

/** Files of this machine; `root` puts another directory in place of `/` (tests). */
export function nodeFiles(root = '/'): Files {
  const real = (path: string): string => join(root, path);
  const openFile = async (path: string): Promise<FileHandle | undefined> => {
    const foreign = FOREIGN.find((it) => path.startsWith(`${it}/`));
    if (foreign === undefined) return await open(real(path), constants.O_RDONLY);
    return await foreignDirectory(real(foreign)).openFile(path.slice(foreign.length + 1).split('/'));
  };
  const bytes = (path: string, limit = DEFAULT_LIMIT): Promise<Buffer | undefined> =>
    orAbsent(async () => {
      const handle = await openFile(path);
      if (handle === undefined) return undefined;
      try {
        // proc and sysfs files have no size: read to the end, within the limit.
        const chunks: Buffer[] = [];
        let size = 0;
        for (;;) {
          const { bytesRead, buffer } = await handle.read(Buffer.alloc(CHUNK), 0, CHUNK, null);
          if (bytesRead === 0) return Buffer.concat(chunks);
          size += bytesRead;
          if (size > limit) throw new Error(`${path} is larger than ${limit} bytes`);
          chunks.push(buffer.subarray(0, bytesRead));
        }
      } finally {
        await handle.close();
      }
    });
  return {
    real,
    bytes,
    text: async (path, limit) => (await bytes(path, limit))?.toString('utf8'),
    names: (path) => orAbsent(async () => (await readdir(real(path))).sort()),
    isDirectory: async (path) => (await orAbsent(() => stat(real(path))))?.isDirectory() ?? false,
    exists: async (path) => (await orAbsent(() => stat(real(path)))) !== undefined,
    link: (path) => readlink(real(path)).catch(() => undefined),
    identity: (path) =>
      stat(real(path)).then(
        ({ dev, ino }) => `${dev}:${ino}`,
        () => undefined,
      ),
    async stamp(path) {
      const about = await orAbsent(() => stat(real(path)));
      return about === undefined ? undefined : `${about.size}:${Math.round(about.mtimeMs)}`;
    },
    modified: async (path) => (await orAbsent(() => lstat(real(path))))?.mtime,
    async poke(path, value) {
      const handle = await open(real(path), constants.O_WRONLY);
      try {
        await handle.write(value, 0);
      } finally {
        await handle.close();
      }
    },
    writeAtomic: (path, data, mode) => writeFileAtomic(real(path), data, mode),
    async writePrivate(path, data) {
      const handle = await open(real(path), 'wx', 0o600);
      try {
        await handle.writeFile(data);
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
    async directory(path, mode) {
      await mkdir(real(path), { recursive: true, mode });
    },
    rename: (from, to) => rename(real(from), real(to)),
    remove: (path) => rm(real(path), { force: true }),
  };
}

async function orAbsent<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    // ESRCH: a /proc file of a task that ended while it was read. ENODEV: a sysfs attribute of an object that just
    // went.
    if (findCode(error, ['ENOENT', 'ENOTDIR', 'ESRCH', 'ENODEV']) !== undefined) return undefined;
    throw error;
  }
}

export function nodeEdges(): Edges {
  return {
    clock: systemClock,
    random: Math.random,
    files: nodeFiles(),
    run,
    // Looked up when it is used: Node loads its HTTP client at the first look.
    fetch: (input, init) => globalThis.fetch(input, init),
    machine: {
      hostname,
      arch: () => (arch() === 'x64' ? 'x86_64' : arch()),
      release,
      version,
      timeZone: () => new Intl.DateTimeFormat().resolvedOptions().timeZone,
    },
  };
}
