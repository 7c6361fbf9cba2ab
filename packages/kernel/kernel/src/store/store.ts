import { mkdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Edges } from '@kmend/base';
import { exists, syncDirectory, withLock } from '@kmend/base/node';
import type { Packages, SourceFiles } from '../archive/archive.ts';
import type { PackageEntry } from '../archive/index.ts';
import { KernelError } from '../error.ts';
import type { Kernel } from '../kernel.ts';
import { type LocalSpec, type LocalWork, layOutLocal } from '../local/add.ts';
import { sourcePackageOf } from '../source.ts';
import { refuseOtherFlavours } from './fitness.ts';
import { type Found, readFolders, sameBuild } from './folders.ts';
import { findImage, imageParts, RELEASE } from './image-packages.ts';
import { nearest } from './near.ts';
import { commonHeadersPackage, isRealTime, readRecord, recordPath } from './record.ts';
import { unpackKernel } from './unpack.ts';

/** What `kmend kernel add` is given, in parts. */
interface Spec {
  readonly suite: string;
  readonly release: string;
  /** Of the package; absent: the suite's newest. */
  readonly version: string | undefined;
}

/**
 * Kernels on this machine: one folder for each build id, added whole or not at all. A release may have several builds.
 */
export class KernelStore {
  readonly #edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly #archive: Packages & SourceFiles;
  readonly #directory: string;

  /** `cacheDirectory`: the folder `kernels` in it is the store's. */
  constructor(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    archive: Packages & SourceFiles,
    cacheDirectory: string,
  ) {
    this.#edges = edges;
    this.#archive = archive;
    this.#directory = join(cacheDirectory, 'kernels');
  }

  /** Every kernel of the store, by release. Throws `kernel-record` where one cannot be read. */
  async list(): Promise<readonly Kernel[]> {
    const { entries, damaged } = await this.#read();
    for (const error of damaged.values()) throw error;
    return entries;
  }

  /**
   * A kernel by its release or by its build id (whole, or at least 8 digits of it). Throws `kernel-not-added`, and
   * `kernel-ambiguous` where several builds go by that name.
   */
  async open(name: string): Promise<Kernel> {
    const { entries, damaged } = await this.#read();
    const byId = /^[0-9a-f]{8,40}$/.test(name);
    const found = entries.filter(({ release, buildId }) => release === name || (byId && buildId.startsWith(name)));
    const [first, second] = found;
    if (first !== undefined && second === undefined) return first;
    if (first !== undefined) {
      const builds = found.map(({ buildId, version, suite }) => `${buildId.slice(0, 12)} (${suite}, ${version})`);
      throw new KernelError('kernel-ambiguous', `the store has ${found.length} kernels called ${name}`, {
        hint: `name one by its build id: ${builds.join(', ')}`,
      });
    }
    // It may be the one that is wanted: the record of another kernel is no reason not to open this one.
    for (const error of damaged.values()) throw error;
    const near = nearest(name, [...new Set(entries.map((kernel) => kernel.release))]);
    throw new KernelError('kernel-not-added', `the kernel ${name} is not in the store`, {
      hint:
        near.length > 0
          ? `did you mean ${near.join(' or ')}? kmend kernel list shows all`
          : RELEASE.test(name)
            ? `add it first, e.g.: kmend kernel add bookworm/${name}`
            : 'kmend kernel list shows all',
    });
  }

  /**
   * Fetches and unpacks a kernel. `spec`: `<suite>/<release>`, e.g. `bookworm/6.1.0-47-amd64`, with `=<version>` for
   * another version of the package than the suite's newest. One already there is returned.
   */
  async add(spec: string): Promise<Kernel> {
    const [, suite, release, version] = /^([a-z][a-z-]*)\/([^=]+)(?:=([A-Za-z0-9.+~:-]+))?$/.exec(spec) ?? [];
    if (suite === undefined || release === undefined || !RELEASE.test(release)) {
      throw new KernelError(
        'kernel-spec',
        `${spec} is not of the form <suite>/<release> or <suite>/<release>=<version>`,
        {
          hint: 'e.g. bookworm/6.1.0-47-amd64',
        },
      );
    }
    refuseOtherFlavours(release);
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is adding a kernel`);
    return await withLock(join(this.#directory, `.${release}.lock`), () => this.#add({ suite, release, version }), {
      signal,
      onWait,
    });
  }

  /**
   * Adds a kernel of one's own from its files. The very same build that is there already is returned; `kernel-exists`
   * where it is to be compiled in another system than before. Beside that throws what `layOutLocal` does.
   */
  async addLocal(spec: LocalSpec, work: LocalWork): Promise<Kernel> {
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is adding a kernel`);
    const add = (): Promise<Kernel> => this.#addLocal(spec, work);
    return await withLock(join(this.#directory, '.local.lock'), add, { signal, onWait });
  }

  #read(): Promise<Found<Kernel>> {
    return readFolders(this.#directory, readRecord);
  }

  async #add({ suite, release, version: wanted }: Spec): Promise<Kernel> {
    const { entries } = await this.#read();
    const present = entries.find(
      (one) => one.suite === suite && one.release === release && (wanted === undefined || one.version === wanted),
    );
    if (present !== undefined) return present;
    const image =
      wanted === undefined
        ? await findImage(this.#archive, await this.#archive.packages(suite), suite, release)
        : await this.#archive.find(suite, `linux-image-${release}`, wanted);
    const { version } = image;
    const sourcePackage = sourcePackageOf(version);
    const find = async (name: string): Promise<PackageEntry> => await this.#archive.find(suite, name, version);
    // All of them are found before the first is fetched.
    const found = {
      image: [image, ...(await Promise.all(imageParts(image, release).map(find)))],
      headers: await find(`linux-headers-${release}`),
      commonHeaders: await find(commonHeadersPackage(release)),
      source: await find(sourcePackage),
      patches: isRealTime(release) ? await this.#archive.debianFiles(suite, version) : undefined,
    };
    const images: string[] = [];
    for (const entry of found.image) images.push(await this.#archive.fetch(entry));
    const packages = {
      image: images,
      headers: await this.#archive.fetch(found.headers),
      commonHeaders: await this.#archive.fetch(found.commonHeaders),
      source: await this.#archive.fetch(found.source),
      patches: found.patches && (await this.#archive.fetch(found.patches)),
    };
    const temporary = await this.#temporary(release);
    try {
      const { indexExpired } = image;
      const about = {
        ...{ release, version, suite, sourcePackage },
        ...(indexExpired === undefined ? {} : { indexExpired }),
      };
      const buildId = await unpackKernel(this.#edges, packages, about, temporary);
      // Another suite may have the very same build.
      const known = sameBuild(entries, { release, buildId });
      if (known !== undefined) return known;
      return await this.#keep(temporary, release, buildId);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async #addLocal(spec: LocalSpec, work: LocalWork): Promise<Kernel> {
    const { entries } = await this.#read();
    const temporary = await this.#temporary('local');
    try {
      const find = (build: Pick<Kernel, 'release' | 'buildId'>): Kernel | undefined => sameBuild(entries, build);
      const kernel = await layOutLocal(this.#edges, spec, work, temporary, find);
      const { release, buildId, local, paths } = kernel;
      if (paths.directory === temporary) return await this.#keep(temporary, release, buildId);
      if (local === undefined || local.buildRoot === (spec.buildRoot && resolve(spec.buildRoot))) return kernel;
      const where = local.buildRoot ?? 'this machine’s system';
      throw new KernelError('kernel-exists', `${release} is in the store already, to be compiled in ${where}`, {
        hint: `to change that, remove ${paths.directory} first`,
      });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  /** An empty folder for the holder of a lock; what a killed run left there goes first. */
  async #temporary(name: string): Promise<string> {
    const path = join(this.#directory, `.${name}.tmp`);
    await rm(path, { recursive: true, force: true });
    await mkdir(path, { recursive: true });
    return path;
  }

  /** Puts a folder with its record in its place. */
  async #keep(temporary: string, release: string, buildId: string): Promise<Kernel> {
    const directory = join(this.#directory, buildId);
    // Folders without a record are what interrupted runs of older versions left.
    for (const left of [directory, join(this.#directory, release)])
      if (!(await exists(recordPath(left)))) await rm(left, { recursive: true, force: true });
    await rename(temporary, directory);
    await syncDirectory(this.#directory);
    const kernel = await readRecord(directory);
    if (kernel !== undefined) return kernel;
    throw new KernelError('kernel-record', `${directory} vanished while it was being added`);
  }
}
