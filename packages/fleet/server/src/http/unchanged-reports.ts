import { storeUnchanged, type UnchangedReport } from '../store/reports.ts';
import type { Database } from '../store/store.ts';

/** Milliseconds that a report without changes may wait to be written. */
const FLUSH_MS = 2000;

/**
 * Collects reports without changes and writes them together. A crash loses two seconds of "last seen", no more.
 */
export class UnchangedReports {
  readonly #store: Database;
  readonly #onError: (error: unknown) => void;
  #pending = new Map<string, UnchangedReport>();
  #timer: NodeJS.Timeout | undefined;

  constructor(store: Database, onError: (error: unknown) => void) {
    this.#store = store;
    this.#onError = onError;
  }

  add(hostId: string, report: UnchangedReport): void {
    this.#pending.set(hostId, report);
    this.#timer ??= setTimeout(() => void this.flush().catch(this.#onError), FLUSH_MS).unref();
  }

  /** What waits to be written of a host. */
  of(hostId: string): UnchangedReport | undefined {
    return this.#pending.get(hostId);
  }

  /** A host that is removed, or whose count was reset. */
  forget(hostId: string): void {
    this.#pending.delete(hostId);
  }

  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#pending;
    this.#pending = new Map();
    if (batch.size > 0) await storeUnchanged(this.#store, batch);
  }
}
