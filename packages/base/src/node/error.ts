import { KmendError } from '../error.ts';

export type EdgeErrorCode =
  | 'tool-missing'
  | 'tool-failed'
  | 'tool-timeout'
  | 'output-too-large'
  | 'interrupted'
  | 'lock-held';

export class EdgeError extends KmendError<EdgeErrorCode> {}
