import { access, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Edges } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { parseConfig } from '../config.ts';
import { KernelError } from '../error.ts';
import { extractVmlinux } from '../image/vmlinux.ts';
import type { Kernel } from '../kernel.ts';
import { fitCompiler } from './fitness.ts';
import { unpackPackage } from './package.ts';
import { packRealTime } from './real-time.ts';
import { headersIn, pathsIn, recordPath, recordText } from './record.ts';
import { keepVmlinux } from './vmlinux.ts';

/** The packages of one kernel, as verified `.deb` files. */
export interface KernelPackages {
  /** What together holds vmlinuz and the modules: one package up to Debian 13, several since 7.x. */
  readonly image: readonly string[];
  readonly headers: string;
  readonly commonHeaders: string;
  readonly source: string;
  /** For a real-time kernel: Debian's part of the source package. */
  readonly patches?: string | undefined;
}

/**
 * Lays out a kernel's folder: packages unpacked, vmlinux extracted, symbols decoded, the record last. Returns the build
 * id. `kernel-without-livepatch`, `kernel-compiler`, `image-unsupported`, `kallsyms-not-found` for kernels that cannot
 * be served; `kernel-incomplete` where a package lacks what it should hold.
 */
export async function unpackKernel(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  packages: KernelPackages,
  about: Pick<Kernel, 'release' | 'version' | 'suite' | 'indexExpired'> & { readonly sourcePackage: string },
  directory: string,
): Promise<string> {
  const { run, progress, signal } = edges;
  const unpack = async (deb: string, into: string): Promise<void> => {
    await unpackPackage(edges, deb, join(directory, into));
  };
  progress.step(`unpack the headers of ${about.release}`);
  await unpack(packages.headers, 'headers');
  const headers = headersIn(directory, about.release);
  const config = parseConfig((await readPart(join(headers, '.config'), about.release)).toString('utf8'));
  // Before the large packages: here most unfit kernels are refused (third-party ones).
  const compiler = fitCompiler(config, about.release);
  await unpack(packages.commonHeaders, 'headers');
  const id = await unpackImage(edges, packages.image, about.release, directory);
  progress.step(`unpack the source ${about.version}`);
  await unpack(packages.source, 'source');
  const source = join(directory, 'source', 'usr', 'src', `${about.sourcePackage}.tar.xz`);
  await expectParts(about.release, [join(headers, 'Module.symvers'), source]);
  const { sourceTarball } = pathsIn(directory, about.release, about.sourcePackage);
  if (packages.patches !== undefined) {
    await packRealTime(edges, { source, patches: packages.patches }, about.version, sourceTarball);
    await rm(source);
  }
  // All of it is on the disk before the record says so.
  await runOk(run, 'sync', ['--file-system', directory], { signal });
  const record = recordText({ ...about, buildId: id, arch: 'x86_64', compiler });
  await writeFile(recordPath(directory), record);
  return id;
}

/**
 * Lays out what the image packages of a kernel hold: vmlinuz and modules, vmlinux extracted, symbols decoded. Returns
 * the build id. `image-unsupported`, `kallsyms-not-found` and `kernel-incomplete` as above.
 */
export async function unpackImage(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  images: readonly string[],
  release: string,
  directory: string,
): Promise<string> {
  const { run, progress, signal } = edges;
  progress.step(`unpack the image of ${release}`);
  for (const deb of images) await unpackPackage(edges, deb, join(directory, 'image'));
  await layOutImage(join(directory, 'image'), release);
  progress.step(`decode the symbols of ${release}`);
  const image = await readPart(join(directory, 'image', 'boot', `vmlinuz-${release}`), release);
  const { buildId: id } = await keepVmlinux(await extractVmlinux(run, image, signal), release, directory);
  await expectParts(release, [join(directory, 'image', 'lib', 'modules', release, 'modules.order')]);
  return id;
}

async function expectParts(release: string, parts: readonly string[]): Promise<void> {
  for (const part of parts) {
    await access(part).catch((error: unknown) => {
      throw incomplete(part, release, error);
    });
  }
}

/**
 * Packages put vmlinuz and modules in different places: `/boot/vmlinuz-R` and `/lib/modules/R` in Debian 12,
 * `/usr/lib/modules/R` in 13, `/usr/lib/modules/R/vmlinuz` in 7.2. In the store it is always as in Debian 12; the rest
 * of `/usr` is documentation.
 */
async function layOutImage(image: string, release: string): Promise<void> {
  const modules = join(image, 'lib', 'modules', release);
  const merged = join(image, 'usr', 'lib', 'modules', release);
  if (!(await isThere(modules)) && (await isThere(merged))) {
    await mkdir(join(image, 'lib', 'modules'), { recursive: true });
    await rename(merged, modules);
  }
  const vmlinuz = join(image, 'boot', `vmlinuz-${release}`);
  const beside = join(modules, 'vmlinuz');
  if (!(await isThere(vmlinuz)) && (await isThere(beside))) {
    await mkdir(join(image, 'boot'), { recursive: true });
    await rename(beside, vmlinuz);
  }
  await rm(join(image, 'usr'), { recursive: true, force: true });
}

/** Bytes of a part that is read as a whole. */
const PART_LIMIT = 256 << 20;

async function readPart(path: string, release: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > PART_LIMIT) throw new Error(`it has ${size} bytes`);
    return await readFile(path);
  } catch (error) {
    throw incomplete(path, release, error);
  }
}

function incomplete(path: string, release: string, cause: unknown): KernelError {
  return new KernelError('kernel-incomplete', `the packages of ${release} do not hold ${basename(path)}`, {
    cause,
    hint: "kmend knows the packages of Debian 12 to 14; if it is one of those, please report the kernel's release",
  });
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
