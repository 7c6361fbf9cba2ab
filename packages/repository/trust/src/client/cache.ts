import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { syncDirectory } from '@kmend/base/node';
import * as z from 'zod';
import { Seen } from './freshness.ts';

/** Left beside complete metadata only: what the next conditional GET needs. */
export const CheckRecord = z.object({
  etag: z.string().max(300).optional(),
  /** Repository the metadata came from: an ETag means nothing elsewhere. */
  url: z.string(),
  /**
   * When this client first held the timestamp and the snapshot that it holds, and last asked for a newer root;
   * milliseconds since 1970.
   */
  seen: Seen.optional(),
});
export type CheckRecord = z.infer<typeof CheckRecord>;

const CHECK_FILE = 'check.json';

/**
 * The client's directory:
 * - `metadata/g-<random>/`: a generation: verified metadata, written once, never changed
 * - `current`: symbolic link to the generation in force; replaced by rename, so that a reader (or a power cut) meets
 *   the old or the new one, whole
 * - `metadata/w-<random>/`: where tuf-js works (it writes in place), while `lock` is held
 * - `targets/`: downloaded files by their target path
 * - `partial/`: downloads that broke off (client/partial.ts)
 */
export class MetadataCache {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  get targets(): string {
    return join(this.directory, 'targets');
  }

  get partials(): string {
    return join(this.directory, 'partial');
  }

  get lock(): string {
    return join(this.directory, 'lock');
  }

  /** Name of the generation in force. */
  async current(): Promise<string | undefined> {
    const link = await readlink(join(this.directory, 'current')).catch(() => undefined);
    return link === undefined ? undefined : basename(link);
  }

  async read(generation: string, file: string): Promise<Buffer | undefined> {
    return readFile(join(this.directory, 'metadata', generation, file)).catch(() => undefined);
  }

  async readCheck(generation: string): Promise<CheckRecord | undefined> {
    const text = (await this.read(generation, CHECK_FILE))?.toString() ?? '';
    try {
      return CheckRecord.parse(JSON.parse(text));
    } catch {
      // Absent after an incomplete refresh, or damaged: either way the next check asks without condition.
      return undefined;
    }
  }

  /** A directory for tuf-js to work in: a copy of the generation in force. */
  async work(generation: string | undefined): Promise<string> {
    const name = `w-${randomBytes(6).toString('hex')}`;
    const path = join(this.directory, 'metadata', name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    if (generation === undefined) return path;
    const from = join(this.directory, 'metadata', generation);
    for (const file of await readdir(from).catch(() => [])) {
      if (file !== CHECK_FILE) await copyFile(join(from, file), join(path, file));
    }
    return path;
  }

  /** Makes a work directory's files the generation in force, durably; keeps the one before for readers under way. */
  async commit(work: string, check: CheckRecord | undefined): Promise<string> {
    const name = `g-${randomBytes(6).toString('hex')}`;
    const path = join(this.directory, 'metadata', name);
    try {
      await mkdir(path, { mode: 0o700 });
      for (const file of await readdir(work)) await writeSynced(join(path, file), await readFile(join(work, file)));
      if (check !== undefined) await writeSynced(join(path, CHECK_FILE), Buffer.from(JSON.stringify(check)));
      await syncDirectory(path);
      await syncDirectory(join(this.directory, 'metadata'));
      const before = await this.current();
      const link = join(this.directory, `current-${name}`);
      await symlink(join('metadata', name), link);
      await rename(link, join(this.directory, 'current'));
      await syncDirectory(this.directory);
      await this.#sweep([name, before, basename(work)]);
      return name;
    } catch (error) {
      await rm(path, { recursive: true, force: true });
      await rm(join(this.directory, `current-${name}`), { force: true });
      throw error;
    }
  }

  /** Removes what crashed runs left behind. Only under the lock. */
  async sweep(): Promise<void> {
    await this.#sweep([await this.current()]);
  }

  async #sweep(keep: readonly (string | undefined)[]): Promise<void> {
    const metadata = join(this.directory, 'metadata');
    for (const name of await readdir(metadata).catch(() => [])) {
      if (!keep.includes(name)) await rm(join(metadata, name), { recursive: true, force: true });
    }
    for (const name of await readdir(this.directory).catch(() => [])) {
      if (name.startsWith('current-')) await rm(join(this.directory, name), { force: true });
    }
  }

  /** Whether a work directory holds other files than a generation. */
  async differs(work: string, generation: string | undefined): Promise<boolean> {
    if (generation === undefined) return true;
    for (const file of await readdir(work)) {
      const [ours, theirs] = [await readFile(join(work, file)), await this.read(generation, file)];
      if (theirs === undefined || !ours.equals(theirs)) return true;
    }
    return false;
  }
}

async function writeSynced(path: string, bytes: Buffer): Promise<void> {
  const handle = await open(path, 'w', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
