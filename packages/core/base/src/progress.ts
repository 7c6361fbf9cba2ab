/** Where a long job tells how far it is. Implementations draw a line, log, or drop it. */
export interface Progress {
  /** A new step begins, e.g. `fetch linux-image-6.1.0-47-amd64`. */
  step(text: string): void;
  /** How far the current step is; `total` is absent while unknown. Units are whatever `unit` says. */
  advance(done: number, total?: number, unit?: 'bytes' | 'files' | 'items'): void;
}

/** For callers that show nothing. */
export const silentProgress: Progress = { step() {}, advance() {} };
