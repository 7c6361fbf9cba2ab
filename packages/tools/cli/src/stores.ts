import type { Clock, Progress, Run } from '@kmend/base';
import { limitedRun, systemClock } from '@kmend/base/node';
import { FixStore } from '@kmend/builder';
import { Archive, ImageStore, KernelStore, mirrors, SourceStore } from '@kmend/kernel';
import type { Context } from './context.ts';

/** The edges of the packages below, for one run of the command line. */
export interface Edges {
  readonly run: Run;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export function edgesOf(context: Context): Edges {
  return { run: limitedRun, clock: systemClock, fetch, progress: context.terminal.progress, signal: context.signal };
}

export interface Stores {
  readonly edges: Edges;
  readonly kernels: KernelStore;
  /** Kernels that builds are only compared with. */
  readonly images: ImageStore;
  readonly sources: SourceStore;
  readonly fixes: FixStore;
}

/** What is kept on this machine: kernels and sources in the cache, fixes at home. */
export function storesOf(context: Context): Stores {
  const edges = edgesOf(context);
  const { cache, home } = context.places;
  const archive = new Archive(edges, mirrors(context.env), cache);
  const kernels = new KernelStore(edges, archive, cache);
  return {
    edges,
    kernels,
    images: new ImageStore(edges, archive, kernels, cache),
    sources: new SourceStore(edges, archive, cache),
    fixes: new FixStore(home),
  };
}

/** A kernel's build id, named by itself or by its release. */
export async function buildIdOf(context: Context, name: string): Promise<string> {
  return /^[0-9a-f]{40}$/.test(name) ? name : (await storesOf(context).kernels.open(name)).buildId;
}
