import type { Agent } from '../agent/context.ts';
import { errorData } from '../log.ts';
import { digestOf, reportContent, sendReport } from '../server/report.ts';
import { sleep } from './sleep.ts';

const FIRST_RETRY_MS = 5_000;
const LAST_RETRY_MS = 3_600_000;
/** How often to look whether there is something to tell, where nobody said so. */
const LOOK_MS = 30_000;
/** Changes that come together are told together. */
const SETTLE_MS = 1_000;

/** Milliseconds until try number `failures` + 1: doubling, with full jitter, so that a fleet does not come back as one. */
export function retryMs(failures: number, random: number): number {
  const most = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20));
  return Math.round(most * (0.5 + random / 2));
}

/** Reports on change and at the interval the server asked for, until `stop`. Never throws, never in the way of checks. */
export async function reportLoop(agent: Agent, stop: AbortSignal, changed: () => AbortSignal): Promise<void> {
  const { clock } = agent.edges;
  let told: string | undefined;
  let dueAt = 0;
  let failures = 0;
  while (!stop.aborted) {
    let wait = LOOK_MS;
    const wake = changed();
    try {
      const content = await reportContent(agent);
      if (digestOf(content) !== told || clock.monotonic() >= dueAt) {
        const seconds = await sendReport(agent, content, stop);
        dueAt = clock.monotonic() + seconds * 1000;
        // The events it carried are gone from the journal now.
        told = digestOf({ ...content, events: [] });
        if (failures > 0) agent.log('info', 'reports reach the server again', { failures });
        failures = 0;
      }
    } catch (error) {
      if (stop.aborted) return;
      failures += 1;
      wait = retryMs(failures, agent.edges.random());
      agent.log(failures === 1 ? 'warn' : 'debug', 'report not delivered', {
        ...errorData(error),
        retrySeconds: wait / 1000,
      });
    }
    // While the server is away a change is no reason to ask it sooner.
    await sleep(clock, wait, failures > 0 ? stop : AbortSignal.any([stop, wake]));
    if (wake.aborted) await sleep(clock, SETTLE_MS, stop);
  }
}
