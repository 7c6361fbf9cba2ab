import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, readlink, rename, rm, rmdir, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncDirectory, withLock } from '@kmend/base/node';
import { DistroError } from './error.ts';

/**
 * Writes a folder whole or not at all: into a new one beside, then `out`, a symbolic link, is turned to it in one step.
 * A reader sees the old one or the new one; the one before is kept until the next time, for who is in the middle of it.
 * Throws `out-occupied`.
 */
export async function writeGeneration<T>(
  out: string,
  write: (folder: string, previous: string | undefined) => Promise<T>,
): Promise<T> {
  const parent = dirname(out);
  const prefix = `.${basename(out)}.`;
  return await withLock(join(parent, `${prefix}lock`), async () => {
    const previous = await currentOf(out, prefix);
    const name = `${prefix}${randomBytes(6).toString('hex')}`;
    const folder = join(parent, name);
    await mkdir(folder, { mode: 0o755 });
    try {
      const result = await write(folder, previous === undefined ? undefined : join(parent, previous));
      await syncTree(folder);
      await symlink(name, `${folder}.link`);
      if (previous === undefined) await rmdir(out).catch(() => {});
      await rename(`${folder}.link`, out);
      await syncDirectory(parent);
      for (const other of await readdir(parent)) {
        if (!other.startsWith(prefix) || [name, previous, `${prefix}lock`].includes(other)) continue;
        await rm(join(parent, other), { recursive: true, force: true });
      }
      return result;
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  });
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What the link leads to survives a power cut as a whole. */
async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else await syncFile(path);
  }
  await syncDirectory(folder);
}

/** The folder that `out` leads to; `undefined` where there is nothing yet. */
async function currentOf(out: string, prefix: string): Promise<string | undefined> {
  const found = await lstat(out).catch(() => undefined);
  if (found === undefined) return undefined;
  if (found.isSymbolicLink()) {
    const target = await readlink(out);
    if (target.startsWith(prefix) && basename(target) === target) return target;
  }
  if (found.isDirectory() && (await readdir(out)).length === 0) return undefined;
  throw new DistroError('out-occupied', `${out} exists, and is not a repository that kmend wrote`, {
    hint: 'name another folder, or move it away',
  });
}
