import type { Edges } from '@kmend/base';
import type { Places } from '@kmend/base/node';
import { Builder, type Diagnosis, diagnose, FixStore, findTree, type Workplace, workplaceOf } from '@kmend/builder';
import { Archive, ImageStore, type Kernel, KernelStore, mirrors, SourceStore } from '@kmend/kernel';

/**
 * What an operator's machine keeps and builds with. Together with `openLab` the only place that makes these of edges
 * and cache.
 */
export class Workshop {
  readonly edges: Edges;
  readonly cache: string;
  readonly kernels: KernelStore;
  /** Kernels that builds are only compared with. */
  readonly images: ImageStore;
  readonly sources: SourceStore;
  readonly fixes: FixStore;
  /** Debian mirror for build roots and what the lab installs; absent means that of the tools. */
  readonly mirror: string | undefined;

  /**
   * Kernels, sources and trees lie in the cache, fixes at home. `env`: where Debian's archive is (`KMEND_MIRROR` and
   * others).
   */
  constructor(edges: Edges, { cache, home }: Places, env: Readonly<Record<string, string | undefined>>) {
    const archive = new Archive(edges, mirrors(env), cache);
    this.edges = edges;
    this.cache = cache;
    this.kernels = new KernelStore(edges, archive, cache);
    this.images = new ImageStore(edges, archive, this.kernels, cache);
    this.sources = new SourceStore(edges, archive, cache);
    this.fixes = new FixStore(home);
    this.mirror = env['KMEND_MIRROR'];
  }

  /** Prepares the kernel's tree, or finds it in the cache. */
  async builder(kernel: Kernel): Promise<Builder> {
    return await Builder.open(this.edges, this.cache, kernel, this.mirror);
  }

  /** Where a kernel is compiled. */
  async workplace(kernel: Kernel): Promise<Workplace> {
    return await workplaceOf(this.edges.run, kernel);
  }

  /** What this machine compiles the kernels of its store with. */
  async diagnosis(): Promise<Diagnosis> {
    return await diagnose(this.edges, this.cache, await this.kernels.list());
  }

  /** The folder of the kernel's prepared tree, if it was prepared; the source lies in `source` in it. */
  async treeDirectory(kernel: Kernel): Promise<string | undefined> {
    return (await findTree(this.cache, kernel))?.directory;
  }
}
