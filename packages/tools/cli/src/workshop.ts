import { limitedRun, systemClock } from '@kmend/base/node';
import { Workshop } from '@kmend/pipeline';
import type { Context } from './context.ts';

/** What one run of the command line works with. */
export function workshopOf(context: Context): Workshop {
  const { terminal, signal, places, env } = context;
  const edges = { run: limitedRun, clock: systemClock, fetch, progress: terminal.progress, signal };
  return new Workshop(edges, places, env);
}

/** A kernel's build id, named by itself or by its release. */
export async function buildIdOf(context: Context, name: string): Promise<string> {
  return /^[0-9a-f]{40}$/.test(name) ? name : (await workshopOf(context).kernels.open(name)).buildId;
}
