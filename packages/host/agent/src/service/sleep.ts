import type { Clock } from '@kmend/base';

/** Sleeps, or until the signal; never throws. */
export async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return;
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Something others can wait for again and again. */
export interface Bell {
  ring(): void;
  /** Aborted at the next ring. */
  signal(): AbortSignal;
}

export function createBell(): Bell {
  let controller = new AbortController();
  return {
    ring() {
      controller.abort();
      controller = new AbortController();
    },
    signal: () => controller.signal,
  };
}
