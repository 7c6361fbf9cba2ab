import { readReportState } from '../fetcher/report-state.ts';
import type { Loader } from '../loader/context.ts';
import { errorData } from '../log.ts';

const UNIT = 'kmend-agent-report.service';
/** Longer than the unit may take (its TimeoutStartSec). */
const REPORT_MS = 130_000;

/** Has the fetcher report what happened while no command waited: this process has no network. */
export interface Teller {
  /** Looks for news, and has it told in the background. */
  tell(): void;
  /** A report is under way. */
  readonly isBusy: boolean;
}

/**
 * `done` is called after each report: what happened meanwhile is told by another one. What a killed loader has left
 * untold is news for the next one.
 */
export async function createTeller(
  { edges, store, log }: Loader,
  done: () => void,
  stop: AbortSignal,
): Promise<Teller> {
  const newest = (): number => store.journal.events.at(-1)?.number ?? 0;
  let told = (await readReportState(edges)).sent;
  let isBusy = false;
  const systemctl = (word: string) => edges.run('/bin/systemctl', [word, UNIT], { timeoutMs: REPORT_MS, signal: stop });

  const report = async (): Promise<void> => {
    told = newest();
    try {
      // To systemd a start of what runs already is done when that is; but that one may have looked before the news.
      const joins = (await systemctl('is-active')).stdout.toString().startsWith('activating');
      await systemctl('start');
      if (joins) await systemctl('start');
    } catch (error) {
      // The next check reports it all the same.
      if (!stop.aborted) log('debug', 'the report was not started', errorData(error));
    }
    isBusy = false;
    done();
  };
  return {
    get isBusy() {
      return isBusy;
    },
    tell() {
      if (isBusy || stop.aborted || newest() === told) return;
      isBusy = true;
      void report();
    },
  };
}
