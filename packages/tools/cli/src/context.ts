import { type Places, places } from '@kmend/base/node';
import type { ExitCode } from './error.ts';
import { createTerminal, type Streams, type Terminal } from './terminal.ts';

/** Where a command hears of SIGHUP; without a listener the signal ends the process, as by default. */
export interface Hangups {
  /** Calls back at each one, until what is returned is called. */
  listen(heard: () => void): () => void;
}

/** For a command that runs in its own process. */
export const noHangups: Hangups = { listen: () => () => undefined };

/** The surroundings of every command. */
export interface Context {
  readonly terminal: Terminal;
  readonly places: Places;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** SIGHUP: a server reads its files again. */
  readonly hangups: Hangups;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** What the process will exit with when the command returns without an error. Default 0. */
  exitWith(code: ExitCode): void;
}

/** What reaches a run of the program from outside. */
export interface Surroundings {
  readonly streams: Streams;
  readonly env: Context['env'];
  readonly signal: AbortSignal;
  readonly hangups?: Hangups;
}

/** `json`: results and errors are printed as JSON. */
export function createContext(
  { streams, env, signal, hangups = noHangups }: Surroundings,
  json: boolean,
  exitWith: Context['exitWith'],
): Context {
  return { terminal: createTerminal(streams, json), places: places(env), env, hangups, signal, exitWith };
}
