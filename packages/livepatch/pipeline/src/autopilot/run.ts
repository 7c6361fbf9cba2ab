import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import { withLock } from '@kmend/base/node';
import { AutopilotError } from './config.ts';
import type { AutopilotState } from './state.ts';
import { type AutopilotWork, stepsFor } from './steps.ts';
import { type TurnEdges, takeTurn } from './turn.ts';

const MINUTE_MS = 60_000;

/**
 * Takes a turn for each kernel; unless `once`, again and again until interrupted. Two autopilots at one home do not
 * both act: `autopilot-running`.
 */
export async function runAutopilot(
  work: AutopilotWork,
  { store, say, once }: Pick<TurnEdges, 'store' | 'say'> & { readonly once: boolean },
): Promise<AutopilotState[]> {
  const { workshop, config } = work;
  const { clock, signal } = workshop.edges;
  const edges: TurnEdges = { store, clock, signal, say };
  const turns = async (): Promise<AutopilotState[]> => {
    // A mistyped kernel is known before the first is built.
    const kernels = await Promise.all(config.kernels.map((name) => workshop.kernels.open(name)));
    for (;;) {
      const states: AutopilotState[] = [];
      for (const kernel of kernels) states.push(await takeTurn(edges, kernel, stepsFor(work, kernel)));
      if (once) return states;
      say(`the next look at the archive is in ${config.interval} minutes`);
      await clock.sleep(config.interval * MINUTE_MS, signal);
    }
  };
  return await withLock(join(store.directory, 'lock'), turns, { signal, timeoutMs: 0 }).catch((error: unknown) => {
    if (errorCode(error) !== 'lock-held') throw error;
    throw new AutopilotError('autopilot-running', `another autopilot works in ${store.directory}`, {
      hint: 'wait for it, or end it; kmend update status shows what it does',
      cause: error,
    });
  });
}
