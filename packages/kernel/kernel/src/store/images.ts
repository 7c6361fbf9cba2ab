import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Edges, parseJson } from '@kmend/base';
import { exists, runOk, syncDirectory, withLock } from '@kmend/base/node';
import { z } from 'zod';
import type { Packages } from '../archive/archive.ts';
import { KernelError } from '../error.ts';
import type { KernelImage } from '../kernel.ts';
import { refuseOtherFlavours } from './fitness.ts';
import { readFolders, sameBuild } from './folders.ts';
import { findImage, flavourOf, imageParts, RELEASE, releaseOf } from './image-packages.ts';
import type { KernelStore } from './store.ts';
import { unpackImage } from './unpack.ts';

/** What tells an image apart; its folder has the layout of a kernel's, without headers and source. */
const ImageRecord = z.object({
  schema: z.literal('kmend.image/1'),
  release: z.string(),
  buildId: z.string().regex(/^[0-9a-f]{40}$/),
  version: z.string(),
  suite: z.string(),
});

const FILE = 'image.json';

/**
 * Kernels that are only compared with: the code of the distribution's own fixed kernels. Apart from the kernels that
 * livepatches are built for, so that nothing is ever built for one of these.
 */
export class ImageStore {
  readonly #edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly #archive: Packages;
  readonly #kernels: KernelStore;
  readonly #directory: string;

  /** `cacheDirectory`: the folder `images` in it is the store's. `kernels` serve as images too. */
  constructor(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    archive: Packages,
    kernels: KernelStore,
    cacheDirectory: string,
  ) {
    this.#edges = edges;
    this.#archive = archive;
    this.#kernels = kernels;
    this.#directory = join(cacheDirectory, 'images');
  }

  /** Every image of the store, by release; not the kernels. */
  async list(): Promise<readonly KernelImage[]> {
    const { entries, damaged } = await readFolders(this.#directory, readImage);
    for (const error of damaged.values()) throw error;
    return entries;
  }

  /**
   * The image, of a kernel or of an image, that a build id names, or that a release, or a version of the distribution's
   * package with the flavour of `like`, names. Throws `kernel-ambiguous` where several builds go by that name.
   */
  async find(name: string, like: string): Promise<KernelImage | undefined> {
    const all = [...(await this.#kernels.list()), ...(await this.list())];
    const flavour = flavourOf(like);
    const found = all.filter(
      ({ release, version, buildId }) =>
        [release, buildId].includes(name) || (version === name && flavourOf(release) === flavour),
    );
    const builds = [...new Set(found.map(({ buildId }) => buildId))];
    if (builds.length < 2) return found[0];
    throw new KernelError(
      'kernel-ambiguous',
      `the store has ${builds.length} builds of ${name}: ${builds.join(', ')}`,
      {
        hint: 'remove the folder of the one that is not the distribution’s (kmend kernel list names the folders)',
      },
    );
  }

  /**
   * Fetches and unpacks the image of a kernel. `spec`: `<suite>/<release>`, or `<suite>/<version>` for the image of
   * that version; behind it, with another slash, the flavour if it is not `amd64`: `bookworm/6.1.176-1/cloud-amd64`.
   */
  async add(spec: string): Promise<KernelImage> {
    const [, suite, name, flavour = 'amd64'] = /^([a-z][a-z-]*)\/([^/]+)(?:\/((?:[a-z]+-)?amd64))?$/.exec(spec) ?? [];
    if (suite === undefined || name === undefined || !RELEASE.test(name)) {
      throw new KernelError('kernel-spec', `${spec} is neither of the form <suite>/<release> nor <suite>/<version>`, {
        hint: 'e.g. bookworm/6.1.0-50-amd64 or bookworm/6.1.176-1',
      });
    }
    refuseOtherFlavours(name);
    const release = name.endsWith('amd64') ? name : await releaseOf(this.#archive, suite, name, flavour);
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is adding an image`);
    const add = (): Promise<KernelImage> => this.#add(suite, release);
    return await withLock(join(this.#directory, `.${release}.lock`), add, { signal, onWait });
  }

  async #add(suite: string, release: string): Promise<KernelImage> {
    const { entries } = await readFolders(this.#directory, readImage);
    const present = entries.find((one) => one.release === release && one.suite === suite);
    if (present !== undefined) return present;
    const image = await findImage(this.#archive, await this.#archive.packages(suite), suite, release);
    const { version } = image;
    const debs: string[] = [await this.#archive.fetch(image)];
    for (const part of imageParts(image, release))
      debs.push(await this.#archive.fetch(await this.#archive.find(suite, part, version)));
    const temporary = join(this.#directory, `.${release}.tmp`);
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    try {
      const buildId = await unpackImage(this.#edges, debs, release, temporary);
      const known = sameBuild(entries, { release, buildId });
      if (known !== undefined) return known;
      // All of it is on the disk before the record says so.
      await runOk(this.#edges.run, 'sync', ['--file-system', temporary], { signal: this.#edges.signal });
      const record: z.infer<typeof ImageRecord> = { schema: 'kmend.image/1', release, buildId, version, suite };
      await writeFile(join(temporary, FILE), `${JSON.stringify(record, null, 2)}\n`);
      const directory = join(this.#directory, buildId);
      // Folders without a record are what interrupted runs of older versions left.
      for (const left of [directory, join(this.#directory, release)])
        if (!(await exists(join(left, FILE)))) await rm(left, { recursive: true, force: true });
      await rename(temporary, directory);
      await syncDirectory(this.#directory);
      const added = await readImage(directory);
      if (added !== undefined) return added;
      throw new KernelError('kernel-record', `${directory} vanished while it was being added`);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
}

async function readImage(directory: string): Promise<KernelImage | undefined> {
  const path = join(directory, FILE);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = ImageRecord.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new KernelError('kernel-record', `${path} is not an image record of this version of kmend`, {
      hint: `remove the folder ${directory} and add the image again`,
    });
  }
  const { schema: _, ...record } = parsed.data;
  const modules = join(directory, 'image', 'lib', 'modules', record.release);
  return { ...record, paths: { directory, vmlinux: join(directory, 'vmlinux'), modules } };
}
