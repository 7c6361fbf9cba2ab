import type { KernelImage } from '@kmend/kernel';
import type { Livepatch } from '@kmend/protocol';
import { World } from './world.ts';

/** Where images are kept: ImageStore. */
export interface Images {
  find(name: string, like: string): Promise<KernelImage | undefined>;
}

/** The distribution's fixed kernels that livepatches were compared with, each read once. */
export class FixedWorlds {
  readonly #images: Images;
  readonly #known = new Map<string, Promise<World | undefined>>();

  constructor(images: Images) {
    this.#images = images;
  }

  /** Those that a livepatch.json names and that are here, by their build ids. */
  async of({ kernel, fixedKernel }: Livepatch): Promise<World[]> {
    const found: World[] = [];
    for (const { buildId } of fixedKernel?.kernels ?? []) {
      const opened = this.#known.get(buildId) ?? this.#open(buildId, kernel.release);
      this.#known.set(buildId, opened);
      const world = await opened;
      if (world !== undefined) found.push(world);
    }
    return found;
  }

  async #open(buildId: string, like: string): Promise<World | undefined> {
    const image = await this.#images.find(buildId, like);
    return image === undefined ? undefined : await World.openImage(image);
  }
}
