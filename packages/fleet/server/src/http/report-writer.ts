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
  #next: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(store: Database) {
    this.#store = store;
  }

  /** Resolves once the report is on disk. */
  write(report: NewReport): Promise<void> {
    this.#waiting.push(report);
    this.#next ??= this.#afterLast();
    return this.#next;
  }

  async #afterLast(): Promise<void> {
    await this.#last.catch(() => undefined);
    const batch = this.#waiting;
    this.#waiting = [];
    this.#last = this.#next ?? Promise.resolve();
    this.#next = undefined;
    await storeReports(this.#store, batch);
  }
}
