import { type Places, places } from '@kmend/base/node';
import type { ExitCode } from './error.ts';
import { createTerminal, type Streams, type Terminal } from './terminal.ts';

/** What every command gets. */
export interface Context {
  readonly terminal: Terminal;
  readonly places: Places;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** What the process will exit with when the command returns without an error. Default 0. */
  exitWith(code: ExitCode): void;
}

export function createContext(
  streams: Streams,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
  json: boolean,
  exitWith: (code: ExitCode) => void,
): Context {
  return { terminal: createTerminal(streams, json), places: places(env), env, signal, exitWith };
}
