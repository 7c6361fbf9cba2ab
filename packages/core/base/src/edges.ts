import type { Clock } from './clock.ts';
import type { Run } from './process.ts';
import type { Progress } from './progress.ts';

/** What work reaches the world with. A function takes what it uses of it: `Pick<Edges, 'run' | 'signal'>`. */
export interface Edges {
  readonly run: Run;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly progress: Progress;
  /** Ends the work. */
  readonly signal: AbortSignal;
}
