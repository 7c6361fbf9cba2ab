import type { Edges } from '../edges/edges.ts';
import type { Terminal } from './terminal.ts';

/** What every command gets. */
export interface Context {
  readonly edges: Edges;
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number | undefined;
  readonly stdin: NodeJS.ReadableStream;
  readonly signal: AbortSignal;
}

/** Options as they were parsed. */
export type Values = Readonly<Record<string, string | boolean | undefined>>;
