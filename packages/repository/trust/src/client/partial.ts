import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

/** Downloads that may lie half done: the one under way and, where a newer livepatch replaced it, the one before. */
const KEPT = 2;
const STALE_MS = 3 * 86_400_000;

/** Where a partial download's bytes came from. */
const Source = z.object({ url: z.string(), etag: z.string().max(300).optional() });
export type Source = z.infer<typeof Source>;

/** One target's bytes as far as they came: `partial/<key>`, and `partial/<key>.json` with their source. */
export class PartialDownload {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async size(): Promise<number> {
    return (await stat(this.path).catch(() => undefined))?.size ?? 0;
  }

  /** `undefined` where it is unknown, as after a torn write. */
  async source(): Promise<Source | undefined> {
    try {
      return Source.parse(JSON.parse(await readFile(`${this.path}.json`, 'utf8')));
    } catch {
      return undefined;
    }
  }

  /** Opens it empty, for bytes of this source. The caller closes it. */
  async begin(source: Source): Promise<FileHandle> {
    await this.remove();
    await writeFile(`${this.path}.json`, JSON.stringify(source), { mode: 0o600 });
    return open(this.path, 'wx', 0o600);
  }

  async append(): Promise<FileHandle> {
    return open(this.path, 'a');
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(`${this.path}.json`, { force: true });
  }
}

/** The directory of a client's unfinished downloads. Used under the client's lock only. */
export class PartialDownloads {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The download of a target, by its name in the repository (with consistent snapshots the name holds its hash). */
  async of(name: string): Promise<PartialDownload> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    return new PartialDownload(join(this.#directory, createHash('sha256').update(name).digest('hex')));
  }

  /** Removes partial files that were not resumed for days, and all but the newest. */
  async sweep(now: Date): Promise<void> {
    const names = (await readdir(this.#directory).catch(() => [])).map((name) => name.replace(/\.json$/, ''));
    const found: { download: PartialDownload; mtimeMs: number }[] = [];
    for (const name of new Set(names)) {
      const download = new PartialDownload(join(this.#directory, name));
      const mtimeMs = (await stat(download.path).catch(() => undefined))?.mtimeMs ?? 0;
      found.push({ download, mtimeMs });
    }
    found.sort((a, b) => b.mtimeMs - a.mtimeMs);
    for (const [n, { download, mtimeMs }] of found.entries()) {
      if (n >= KEPT || now.getTime() - mtimeMs > STALE_MS) await download.remove();
    }
  }
}
