import type { CheckOutcome } from '@kmend/trust';
import { proxySettings } from '../config/proxy.ts';
import { paths } from '../edges/paths.ts';
import { errorData } from '../log.ts';
import { readObserved } from '../observed/observed.ts';
import type { CommandResult } from '../service/orders.ts';
import { fetchAhead } from './ahead.ts';
import { check } from './check.ts';
import { consult } from './consult.ts';
import type { Fetcher } from './context.ts';
import type { IdleState } from './idle-state.ts';
import { whatToTell } from './report.ts';
import { reportIfDue } from './reporter.ts';

/** After this long without a look of the loader it is asked again although nothing is new. */
const LOOK_ANYWAY_MS = 6 * 3_600_000;

export interface TurnOptions {
  /** Have the loader look even where nothing is new. */
  readonly look: boolean;
  /** Tell the server what is new. */
  readonly report: boolean;
  readonly tell: (text: string) => void;
}

/**
 * One full turn: a check with all verification, the loader's look where there is something for it, followed to its
 * outcome, and a report where there is something to tell. Each part is tried although the one before failed; the first
 * failure is thrown at the end. What an idle check needs to know is left behind where everything is well.
 */
export async function turn(
  fetcher: Fetcher,
  options: TurnOptions,
  signal: AbortSignal,
): Promise<CommandResult | undefined> {
  const failures: unknown[] = [];
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(error);
      return undefined;
    }
  };
  const { edges, contact } = fetcher;
  const checked = await attempt(() => check(fetcher, signal));
  const now = edges.clock.now().getTime();
  const { wakeAt } = await readObserved(edges);
  const woken = wakeAt !== null && Date.parse(wakeAt) <= now;
  const looked = contact.value.looked;
  const unseen = looked === null || looked.version !== contact.value.version || now - looked.at >= LOOK_ANYWAY_MS;
  let result: CommandResult | undefined;
  if (options.look || woken || (checked !== undefined && (unseen || looked.failed || (await isAstray(fetcher))))) {
    result = await attempt(() => consult(fetcher, paths.considerSocket, { follow: true, tell: options.tell }, signal));
    await contact.save({
      ...contact.value,
      looked: { version: contact.value.version, at: edges.clock.now().getTime(), failed: result === undefined },
    });
  }
  if (checked !== undefined) await attempt(() => fetchAhead(fetcher, signal));
  const told = options.report ? await attempt(() => reportIfDue(fetcher, signal)) : undefined;
  const well = failures.length === 0 && checked?.validator !== undefined && told !== undefined;
  if (well) await leaveIdle(fetcher, checked, told);
  else await edges.files.remove(paths.idle);
  for (const error of failures.slice(1)) fetcher.log('warn', 'also failed', errorData(error));
  const [first] = failures;
  if (first !== undefined) throw first;
  return result;
}

/** What the loader wrote as good is not in force any more: it should see that. */
async function isAstray(fetcher: Fetcher): Promise<boolean> {
  return (await whatToTell(fetcher)).astray;
}

async function leaveIdle(
  { edges, config, env, contact, reports }: Fetcher,
  { validator, freshUntil }: CheckOutcome,
  told: number,
): Promise<void> {
  if (validator === undefined) return;
  const now = edges.clock.now().getTime();
  const state: IdleState = {
    schema: 'kmend.agent-idle/1',
    url: validator.url,
    etag: validator.etag,
    proxy: proxySettings(config, env),
    caFile: config.caFile ?? null,
    writtenAt: now,
    freshUntil: freshUntil.getTime(),
    reportAt: reports.value.dueAt,
    lookAt: (contact.value.looked?.at ?? now) + LOOK_ANYWAY_MS,
    intervalSeconds: contact.value.intervalSeconds,
    told,
  };
  await edges.files.writeAtomic(paths.idle, `${JSON.stringify(state)}\n`, 0o600);
}
