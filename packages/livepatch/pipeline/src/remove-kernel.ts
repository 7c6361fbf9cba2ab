import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import { exists, withExclusiveUse } from '@kmend/base/node';
import { KernelError, type KernelImage } from '@kmend/kernel';
import { extentOf, type Removal, setAside } from './prune.ts';
import type { Workshop } from './workshop.ts';

/**
 * Removes a kernel, or an image that builds are compared with, and its prepared tree from the cache. Fixes and built
 * livepatches stay; packages, sources and build roots go with the next `pruneCache`. Waits until no command of kmend
 * uses the cache. `kernel-not-added`, `kernel-ambiguous` as `KernelStore.open`.
 */
export async function removeKernel(workshop: Workshop, name: string): Promise<Removal> {
  const { edges, cache } = workshop;
  const onWait = (user: number): void => edges.progress.step(`wait for process ${user}, which uses the cache`);
  const removing = async (): Promise<Removal> => {
    const found = await kernelOrImage(workshop, name);
    const places = [found.paths.directory, join(cache, 'trees', found.buildId)];
    const paths: string[] = [];
    for (const path of places) if (await exists(path)) paths.push(path);
    const sizes = await Promise.all(paths.map(extentOf));
    const bytes = Math.round(sizes.reduce((sum, extent) => sum + extent.bytes, 0));
    const removal = { what: `${found.release} (build id ${found.buildId})`, paths, bytes, why: 'named' };
    await setAside(workshop, [removal]);
    return removal;
  };
  return await withExclusiveUse(cache, removing, { signal: edges.signal, onWait });
}

async function kernelOrImage({ kernels, images }: Workshop, name: string): Promise<KernelImage> {
  try {
    return await kernels.open(name);
  } catch (error) {
    if (errorCode(error) !== 'kernel-not-added') throw error;
    const byId = /^[0-9a-f]{8,40}$/.test(name);
    const found = (await images.list()).filter(
      ({ release, buildId }) => release === name || (byId && buildId.startsWith(name)),
    );
    const [image, second] = found;
    if (image === undefined) throw error;
    if (second === undefined) return image;
    throw new KernelError('kernel-ambiguous', `the store has ${found.length} images called ${name}`, {
      hint: `name one by its build id: ${found.map(({ buildId }) => buildId).join(', ')}`,
    });
  }
}
