import { limitedRun, systemClock, withSharedUse } from '@kmend/base/node';
import { Workshop } from '@kmend/pipeline';
import type { Context } from './context.ts';

/** What one run of the command line works with. */
export function workshopOf(context: Context): Workshop {
  const { terminal, signal, places, env } = context;
  const edges = { run: limitedRun, clock: systemClock, fetch, progress: terminal.progress, signal };
  return new Workshop(edges, places, env);
}

/** Works with what the cache has, which `kmend cache prune` leaves alone meanwhile. */
export async function usingWorkshop<T>(context: Context, work: (workshop: Workshop) => Promise<T>): Promise<T> {
  return await usingCache(context, () => work(workshopOf(context)));
}

/** The same, for a program that works now and then: the cache can be pruned in between. */
export async function usingCache<T>(context: Context, work: () => Promise<T>): Promise<T> {
  const { terminal, signal, places } = context;
  const onWait = (holder: number): void => terminal.progress.step(`wait for process ${holder}, which prunes the cache`);
  return await withSharedUse(places.cache, work, { signal, onWait });
}

/** A kernel's build id, named by itself or by its release. */
export async function buildIdOf(context: Context, name: string): Promise<string> {
  return /^[0-9a-f]{40}$/.test(name) ? name : (await workshopOf(context).kernels.open(name)).buildId;
}
