import type { Verdict } from '../fleet/ingest.ts';
import { type NewReport, storeReports } from '../store/reports.ts';
import type { Database } from '../store/store.ts';

/** Bytes of a report that a person carries here, as JSON: all that its schema allows. */
export const MAX_REPORT_FILE = 4 * 2 ** 20;

/**
 * Writes reports durably, all that came while the last write was under way in one transaction: after a fleet-wide
 * change thousands come at once, and each commit waits for the disk.
 */
export class ReportWriter {
  readonly #store: Database;
  #waiting: NewReport[] = [];
  #next: Promise<readonly Verdict[]> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Database) {
    this.#store = store;
  }

  /** Resolves once the report is on disk, with its outcome. */
  async write(report: NewReport): Promise<Verdict> {
    const index = this.#waiting.push(report) - 1;
    this.#next ??= this.#afterLast();
    const verdicts = await this.#next;
    return verdicts[index] ?? { kind: 'known', newest: report.report.sequence };
  }

  async #afterLast(): Promise<readonly Verdict[]> {
    await this.#last.catch(() => undefined);
    const batch = this.#waiting;
    this.#waiting = [];
    this.#last = this.#next ?? Promise.resolve();
    this.#next = undefined;
    return await storeReports(this.#store, batch);
  }
}
