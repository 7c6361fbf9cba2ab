import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import { withLock } from '@kmend/base/node';
import { AutopilotError } from './error.ts';
import type { AutopilotState } from './state.ts';
import { type AutopilotWork, stepsFor } from './steps.ts';
import { type TurnEdges, takeTurn } from './turn.ts';

const MINUTE_MS = 60_000;

export interface RunOptions extends Pick<TurnEdges, 'store' | 'say'> {
  /** One turn a kernel, and no more. */
  readonly once: boolean;
  /** Holds the cache while it is worked with; in between it can be pruned. */
  use<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Takes a turn for each kernel; unless `once`, again and again until interrupted. Two autopilots at one home do not
 * both act: `autopilot-running`.
 */
export async function runAutopilot(
  work: AutopilotWork,
  { store, say, once, use }: RunOptions,
): Promise<AutopilotState[]> {
  const { workshop, config } = work;
  const { clock, signal } = workshop.edges;
  const edges: TurnEdges = { store, clock, signal, say };
  const round = async (): Promise<AutopilotState[]> => {
    // A mistyped kernel is known before the first is built.
    const kernels = await Promise.all(config.kernels.map((name) => workshop.kernels.open(name)));
    const states: AutopilotState[] = [];
    for (const kernel of kernels) states.push(await takeTurn(edges, kernel, stepsFor(work, kernel)));
    return states;
  };
  const turns = async (): Promise<AutopilotState[]> => {
    for (;;) {
      const states = await use(round);
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
