import { lstat, mkdir, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Clock } from '@kmend/base';
import { run, runOk, syncDirectory } from '@kmend/base/node';
import type { PackageFormat, PublishPackagesResponse } from '@kmend/protocol/packages';
import { ServerError } from '../error.ts';
import { checkClaim } from './claim.ts';
import { isImmutable } from './kinds.ts';
import { type Limits, unpack } from './unpack.ts';

const LIMITS: Limits = { archive: 8 * 2 ** 30, file: 256 * 2 ** 20, files: 65_536 };

/** Milliseconds for which a reader that began with the previous repository still gets the files of its index. */
const GRACE_MS = 3_600_000;

/** The link to the repository that is served. */
const CURRENT = 'current';

export interface FoundFile {
  /** Folder of the repository that has it. */
  readonly root: string;
  readonly immutable: boolean;
}

/**
 * The repository of one package format: folders that never change once they are served, named by the second they came,
 * and a link that is turned from one to the next. The one before stays for a while for who is in the middle of it.
 */
export class PackageRepository {
  readonly format: PackageFormat;
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #limits: Limits;
  #current: string | undefined;
  #previous: { readonly name: string; readonly since: number } | undefined;
  #busy = false;
  #sweeping: Promise<void> = Promise.resolve();

  private constructor(format: PackageFormat, folder: string, clock: Clock, limits: Limits) {
    this.format = format;
    this.#folder = folder;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** What an upload left that was cut off by the server's end is removed. */
  static async open(
    format: PackageFormat,
    folder: string,
    clock: Clock,
    limits: Limits = LIMITS,
  ): Promise<PackageRepository> {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    const repository = new PackageRepository(format, folder, clock, limits);
    repository.#current = await currentOf(folder);
    await repository.sweep();
    return repository;
  }

  get published(): boolean {
    return this.#current !== undefined;
  }

  /**
   * Puts the repository in a tar stream in place of the one before: readers get one or the other. Throws the `tar-`
   * codes, `packages-incomplete`, `packages-unsigned`, `packages-busy`; nothing changes then and nothing stays.
   */
  async replace(body: Readable): Promise<PublishPackagesResponse> {
    if (this.#busy) {
      throw new ServerError('packages-busy', `another ${this.format} repository is being uploaded`, {
        hint: 'wait until that upload ends',
      });
    }
    this.#busy = true;
    try {
      await this.#sweeping;
      return await this.#replace(body);
    } finally {
      this.#busy = false;
      await this.sweep();
    }
  }

  async #replace(body: Readable): Promise<PublishPackagesResponse> {
    // Later than the one before, so that no cache takes a file of the same size for the same file.
    const seconds = Math.max(Math.floor(this.#clock.now().getTime() / 1000), Number(this.#current ?? 0) + 1);
    const at = new Date(seconds * 1000);
    const name = String(seconds);
    const temporary = join(this.#folder, `${name}.tmp`);
    await mkdir(temporary, { mode: 0o755 });
    try {
      const previous = this.#current === undefined ? undefined : join(this.#folder, this.#current);
      const unpacked = await unpack(body, temporary, { limits: this.#limits, at, previous });
      await checkClaim(this.format, temporary);
      await runOk(run, 'sync', ['--file-system', temporary]);
      await rename(temporary, join(this.#folder, name));
      await this.#turn(name);
      return { format: this.format, ...unpacked, published: this.#clock.now().toISOString() };
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  async #turn(name: string): Promise<void> {
    const fresh = join(this.#folder, `${name}.link`);
    await symlink(name, fresh);
    await rename(fresh, join(this.#folder, CURRENT));
    await syncDirectory(this.#folder);
    this.#previous = this.#current === undefined ? undefined : { name: this.#current, since: this.#clock.monotonic() };
    this.#current = name;
  }

  /**
   * The path of a file. Files that never change are also found in the previous repository: a client that read its index
   * requests the files that the index names.
   */
  async find(path: string): Promise<FoundFile | undefined> {
    const immutable = isImmutable(this.format, path);
    const names = [this.#current, immutable && this.#inGrace() ? this.#previous?.name : undefined];
    for (const name of names) {
      if (name === undefined) continue;
      const root = join(this.#folder, name);
      if ((await lstat(join(root, path)).catch(() => undefined))?.isFile() === true) return { root, immutable };
    }
    return undefined;
  }

  #inGrace(): boolean {
    return this.#previous !== undefined && this.#clock.monotonic() - this.#previous.since < GRACE_MS;
  }

  /** Removes repositories that are no longer served. If that fails, the next call retries. */
  async sweep(): Promise<void> {
    if (this.#busy) return;
    this.#sweeping = this.#sweep().catch(() => undefined);
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    if (!this.#inGrace()) this.#previous = undefined;
    const kept = new Set([CURRENT, this.#current, this.#previous?.name]);
    for (const name of await readdir(this.#folder)) {
      if (!kept.has(name)) await rm(join(this.#folder, name), { recursive: true, force: true });
    }
  }
}

async function currentOf(folder: string): Promise<string | undefined> {
  const name = await readlink(join(folder, CURRENT)).catch(() => '');
  return /^\d+$/.test(name) ? name : undefined;
}
