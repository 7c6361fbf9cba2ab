import { AgentError } from '../error.ts';
import { errorData } from '../log.ts';
import type { Fetcher } from './context.ts';
import { digestOf, sendReport, whatToTell } from './report.ts';
import type { ReportState } from './report-state.ts';

const FIRST_RETRY_MS = 5_000;
const LAST_RETRY_MS = 3_600_000;
/** Reports that follow each other because something changed while one was on its way. */
const MOST_AT_ONCE = 5;

/** Milliseconds until try number `failures` + 1: doubling, with jitter, so that a fleet does not come back as one. */
export function retryMs(failures: number, random: number): number {
  const most = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20));
  return Math.round(most * (0.5 + random / 2));
}

/**
 * Reports where something changed or the regular report is due. While the server is away a change is no reason to ask
 * it sooner. Returns the number of the newest event told; never throws for what the server does.
 */
export async function reportIfDue(fetcher: Fetcher, signal: AbortSignal): Promise<number> {
  const { edges, reports, identity } = fetcher;
  if (reports.value.host !== identity.hostId) {
    // The server knows nothing of this host yet, whatever was told of the one before.
    await reports.save({ ...reports.value, host: identity.hostId, digest: null, refusal: null, failures: 0, dueAt: 0 });
  }
  for (let count = 0; ; count++) {
    const told = await whatToTell(fetcher);
    const now = edges.clock.now().getTime();
    const digest = digestOf({ ...told.content, events: [] });
    const { failures, dueAt } = reports.value;
    const due = now >= dueAt || dueAt - now > LONGEST_MS;
    const news = told.content.events.length > 0 || digest !== reports.value.digest;
    if (count === MOST_AT_ONCE || !(due || (news && failures === 0))) return reports.value.sent;
    try {
      const seconds = await sendReport(fetcher, told, signal);
      if (failures > 0) fetcher.log('info', 'reports reach the server again', { failures });
      await reports.save({
        ...reports.value,
        digest,
        refusal: null,
        failures: 0,
        dueAt: edges.clock.now().getTime() + seconds * 1000,
      });
    } catch (error) {
      if (signal.aborted) throw error;
      const wait = Math.max(retryMs(failures + 1, edges.random()), fetcher.pauseMs(fetcher.config.server));
      const refusal = refusalOf(error, edges.clock.now().toISOString());
      await reports.save({
        ...reports.value,
        refusal,
        failures: failures + 1,
        dueAt: edges.clock.now().getTime() + wait,
      });
      fetcher.log(failures === 0 ? 'warn' : 'debug', 'report not delivered', {
        ...errorData(error),
        retrySeconds: wait / 1000,
      });
      return reports.value.sent;
    }
  }
}

/** What the server said of this host by a code of its own, which waiting does not change. */
function refusalOf(error: unknown, at: string): ReportState['refusal'] {
  if (!(error instanceof AgentError) || error.code !== 'server-refused') return null;
  const code = error.details?.['server'];
  return { code: typeof code === 'string' ? code : error.code, message: error.message.slice(0, 1000), at };
}

/** Longer than any server asks for: the clock was set back since. */
const LONGEST_MS = 8 * 86_400_000;
