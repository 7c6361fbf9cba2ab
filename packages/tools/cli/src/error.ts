import { KmendError } from '@kmend/base';

export type CliErrorCode =
  | 'usage'
  | 'not-configured'
  | 'host-unknown'
  | 'report-unreadable'
  | 'autopilot-failed'
  | 'proof-failed'
  | 'not-confirmed';

export class CliError extends KmendError<CliErrorCode> {}

/** Exit codes of `kmend`; README and `--help` name them. 130: interrupted (128 + SIGINT). */
export const exitCodes = { done: 0, failed: 1, usage: 2, refused: 3, needsReview: 4, interrupted: 130 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
