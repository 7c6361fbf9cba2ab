import type { Run } from '@kmend/base';

/** What compiling reaches the world with. */
export interface CompileEdges {
  readonly run: Run;
  readonly signal: AbortSignal;
}
