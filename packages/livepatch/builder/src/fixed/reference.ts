import { readFile } from 'node:fs/promises';
import { readElf } from '@kmend/elf';
import { type KernelImage, KernelMemory, moduleFiles, readModule, readSymbols } from '@kmend/kernel';
import { moduleImage, type ShippedImage, vmlinuxImage } from '../byte-proof/image.ts';
import type { ObjectName } from '../types.ts';

/** The code of one fixed kernel, read when it is first asked for. */
export class FixedKernel {
  readonly image: KernelImage;
  #vmlinux: Promise<ShippedImage> | undefined;
  #files: Promise<ReadonlyMap<string, string>> | undefined;
  readonly #modules = new Map<ObjectName, Promise<ShippedImage | undefined>>();

  constructor(image: KernelImage) {
    this.image = image;
  }

  /**
   * One object of it; `undefined` for a module that it does not have: what was built in may be a module there, and the
   * reverse.
   */
  object(name: ObjectName): Promise<ShippedImage | undefined> {
    if (name === 'vmlinux') {
      this.#vmlinux ??= this.#readVmlinux();
      return this.#vmlinux;
    }
    const module = this.#modules.get(name) ?? this.#readModule(name);
    this.#modules.set(name, module);
    return module;
  }

  async #readVmlinux(): Promise<ShippedImage> {
    const [bytes, symbols] = await Promise.all([readFile(this.image.paths.vmlinux), readSymbols(this.image)]);
    return vmlinuxImage(new KernelMemory(readElf(bytes)), symbols);
  }

  async #readModule(name: ObjectName): Promise<ShippedImage | undefined> {
    this.#files ??= moduleFiles(this.image);
    const path = (await this.#files).get(name);
    return path === undefined ? undefined : moduleImage(name, await readModule(path));
  }
}
