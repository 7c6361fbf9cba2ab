import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, withLock } from '@kmend/base/node';
import type { Packages } from '../archive/archive.ts';
import type { PackageEntry } from '../archive/index.ts';
import { KernelError } from '../error.ts';
import type { Kernel } from '../kernel.ts';
import { sourcePackageOf } from '../source.ts';
import { findImage, imageParts, RELEASE } from './image-packages.ts';
import { nearest } from './near.ts';
import { commonHeadersPackage, readRecord } from './record.ts';
import { type UnpackEdges, unpackKernel } from './unpack.ts';

/** Kernels on this machine: one folder a release, added whole or not at all. */
export class KernelStore {
  readonly #edges: UnpackEdges;
  readonly #archive: Packages;
  readonly #directory: string;

  /** `cacheDirectory`: the folder `kernels` in it is the store's. */
  constructor(edges: UnpackEdges, archive: Packages, cacheDirectory: string) {
    this.#edges = edges;
    this.#archive = archive;
    this.#directory = join(cacheDirectory, 'kernels');
  }

  /** Every kernel of the store, by release. */
  async list(): Promise<Kernel[]> {
    const names = await readdir(this.#directory).catch(() => [] as string[]);
    const kernels: Kernel[] = [];
    for (const name of names.sort()) {
      if (!RELEASE.test(name)) continue;
      const kernel = await readRecord(join(this.#directory, name));
      if (kernel !== undefined) kernels.push(kernel);
    }
    return kernels;
  }

  /** A kernel by its release or by its build id (whole, or at least 8 digits of it). */
  async open(name: string): Promise<Kernel> {
    // By itself first: the damaged record of another kernel is no reason not to open this one.
    const direct = RELEASE.test(name) ? await readRecord(join(this.#directory, name)) : undefined;
    if (direct !== undefined) return direct;
    const kernels = await this.list();
    const byId = /^[0-9a-f]{8,40}$/.test(name) ? (kernel: Kernel) => kernel.buildId.startsWith(name) : () => false;
    const found = kernels.filter(byId);
    if (found[0] !== undefined && found.length === 1) return found[0];
    const near = nearest(
      name,
      kernels.map((kernel) => kernel.release),
    );
    throw new KernelError('kernel-not-added', `the kernel ${name} is not in the store`, {
      hint:
        near.length > 0
          ? `did you mean ${near.join(' or ')}? kmend kernel list shows all`
          : RELEASE.test(name)
            ? `add it first, e.g.: kmend kernel add bookworm/${name}`
            : 'kmend kernel list shows all',
    });
  }

  /** Fetches and unpacks a kernel. `spec`: `<suite>/<release>`, e.g. `bookworm/6.1.0-47-amd64`. One already there is returned. */
  async add(spec: string): Promise<Kernel> {
    const [, suite, release] = /^([a-z][a-z-]*)\/(.+)$/.exec(spec) ?? [];
    if (suite === undefined || release === undefined || !RELEASE.test(release)) {
      throw new KernelError('kernel-spec', `${spec} is not of the form <suite>/<release>`, {
        hint: 'e.g. bookworm/6.1.0-47-amd64',
      });
    }
    const directory = join(this.#directory, release);
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is adding a kernel`);
    return await withLock(join(this.#directory, `.${release}.lock`), () => this.#add(suite, release, directory), {
      signal,
      onWait,
    });
  }

  async #add(suite: string, release: string, directory: string): Promise<Kernel> {
    const present = await readRecord(directory);
    if (present !== undefined) {
      if (present.suite === suite) return present;
      throw new KernelError('kernel-spec', `${release} is in the store already, from ${present.suite}, not ${suite}`, {
        hint: `add it as ${present.suite}/${release}`,
      });
    }
    const entries = await this.#archive.packages(suite);
    const image = await findImage(this.#archive, entries, suite, release);
    const { version } = image;
    const sourcePackage = sourcePackageOf(version);
    const find = async (name: string): Promise<PackageEntry> => await this.#archive.find(suite, name, version);
    // All of them are found before the first is fetched.
    const found = {
      image: [image, ...(await Promise.all(imageParts(image, release).map(find)))],
      headers: await find(`linux-headers-${release}`),
      commonHeaders: await find(commonHeadersPackage(release)),
      source: await find(sourcePackage),
    };
    const images: string[] = [];
    for (const entry of found.image) images.push(await this.#archive.fetch(entry));
    const packages = {
      image: images,
      headers: await this.#archive.fetch(found.headers),
      commonHeaders: await this.#archive.fetch(found.commonHeaders),
      source: await this.#archive.fetch(found.source),
    };
    // Under the lock of this release: what lies there is from a killed run.
    const temporary = join(this.#directory, `.${release}.tmp`);
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    try {
      await unpackKernel(this.#edges, packages, { release, version, suite, sourcePackage }, temporary);
      // A folder without a record is what an interrupted run of an older version left.
      await rm(directory, { recursive: true, force: true });
      await rename(temporary, directory);
      await syncDirectory(this.#directory);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    const kernel = await readRecord(directory);
    if (kernel === undefined) throw new KernelError('kernel-record', `${directory} vanished while it was being added`);
    return kernel;
  }
}
