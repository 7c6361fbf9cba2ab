import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { runOk, syncDirectory, withLock } from '@kmend/base/node';
import { z } from 'zod';
import type { Packages } from '../archive/archive.ts';
import { KernelError } from '../error.ts';
import type { KernelImage } from '../kernel.ts';
import { findImage, flavourOf, imageParts, RELEASE, releaseOf } from './image-packages.ts';
import type { KernelStore } from './store.ts';
import { type UnpackEdges, unpackImage } from './unpack.ts';

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
 * Kernels that are only compared with: the code of the distribution's own fixed kernels. Apart from the kernels that livepatches are built
 * for, so that nothing is ever built for one of these.
 */
export class ImageStore {
  readonly #edges: UnpackEdges;
  readonly #archive: Packages;
  readonly #kernels: KernelStore;
  readonly #directory: string;

  /** `cacheDirectory`: the folder `images` in it is the store's. `kernels` serve as images too. */
  constructor(edges: UnpackEdges, archive: Packages, kernels: KernelStore, cacheDirectory: string) {
    this.#edges = edges;
    this.#archive = archive;
    this.#kernels = kernels;
    this.#directory = join(cacheDirectory, 'images');
  }

  /** Every image of the store, by release; not the kernels. */
  async list(): Promise<KernelImage[]> {
    const names = await readdir(this.#directory).catch(() => [] as string[]);
    const images: KernelImage[] = [];
    for (const name of names.sort()) {
      const image = RELEASE.test(name) ? await readImage(join(this.#directory, name)) : undefined;
      if (image !== undefined) images.push(image);
    }
    return images;
  }

  /** The image with the flavour of `like` that a version of the distribution's package, or a release, names: of a kernel or of an image. */
  async find(name: string, like: string): Promise<KernelImage | undefined> {
    const all = [...(await this.#kernels.list()), ...(await this.list())];
    const flavour = flavourOf(like);
    return all.find(({ release, version }) => release === name || (version === name && flavourOf(release) === flavour));
  }

  /**
   * Fetches and unpacks the image of a kernel. `spec`: `<suite>/<release>`, or `<suite>/<version>` for the image of that version; behind
   * it, with another slash, the flavour if it is not `amd64`: `bookworm/6.1.176-1/cloud-amd64`.
   */
  async add(spec: string): Promise<KernelImage> {
    const [, suite, name, flavour = 'amd64'] = /^([a-z][a-z-]*)\/([^/]+)(?:\/((?:[a-z]+-)?amd64))?$/.exec(spec) ?? [];
    if (suite === undefined || name === undefined || !RELEASE.test(name)) {
      throw new KernelError('kernel-spec', `${spec} is neither of the form <suite>/<release> nor <suite>/<version>`, {
        hint: 'e.g. bookworm/6.1.0-50-amd64 or bookworm/6.1.176-1',
      });
    }
    const release = name.endsWith('amd64') ? name : await releaseOf(this.#archive, suite, name, flavour);
    const directory = join(this.#directory, release);
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which is adding an image`);
    const add = (): Promise<KernelImage> => this.#add(suite, release, directory);
    return await withLock(join(this.#directory, `.${release}.lock`), add, { signal, onWait });
  }

  async #add(suite: string, release: string, directory: string): Promise<KernelImage> {
    const present = await readImage(directory);
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
      // All of it is on the disk before the record says so.
      await runOk(this.#edges.run, 'sync', ['--file-system', temporary], { signal: this.#edges.signal });
      const record: z.infer<typeof ImageRecord> = { schema: 'kmend.image/1', release, buildId, version, suite };
      await writeFile(join(temporary, FILE), `${JSON.stringify(record, null, 2)}\n`);
      await rm(directory, { recursive: true, force: true });
      await rename(temporary, directory);
      await syncDirectory(this.#directory);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    const added = await readImage(directory);
    if (added === undefined) throw new KernelError('kernel-record', `${directory} vanished while it was being added`);
    return added;
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
