import type { Edges } from '@kmend/base';
import type { Places } from '@kmend/base/node';
import { Builder, type Diagnosis, diagnose, FixStore, findTree, type Workplace, workplaceOf } from '@kmend/builder';
import { Archive, acceptedExpired, ImageStore, type Kernel, KernelStore, mirrors, SourceStore } from '@kmend/kernel';
import type { SystemSource } from '@kmend/toolchain/roots';

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
  /** Where build roots and the lab's systems are installed from. */
  readonly systems: SystemSource;

  /**
   * Kernels, sources and trees lie in the cache, fixes at home. `env`: where Debian's archive is (`KMEND_MIRROR` and
   * others), and which suites' index may be out of date (`KMEND_ACCEPT_EXPIRED`).
   */
  constructor(edges: Edges, { cache, home }: Places, env: Readonly<Record<string, string | undefined>>) {
    const acceptExpired = acceptedExpired(env);
    const archive = new Archive(edges, mirrors(env), cache, acceptExpired);
    this.edges = edges;
    this.cache = cache;
    this.kernels = new KernelStore(edges, archive, cache);
    this.images = new ImageStore(edges, archive, this.kernels, cache);
    this.sources = new SourceStore(edges, archive, cache);
    this.fixes = new FixStore(home);
    this.systems = { mirror: env['KMEND_MIRROR'], acceptExpired };
  }

  /** Prepares the kernel's tree, or finds it in the cache. */
  async builder(kernel: Kernel): Promise<Builder> {
    return await Builder.open(this.edges, this.cache, kernel, this.systems);
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
