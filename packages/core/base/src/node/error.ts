import { KmendError } from '../error.ts';

export type EdgeErrorCode =
  | 'tool-missing'
  | 'tool-failed'
  | 'tool-timeout'
  | 'output-too-large'
  | 'tool-limit'
  | 'interrupted'
  | 'lock-held';

export class EdgeError extends KmendError<EdgeErrorCode> {}

export function toolMissing(file: string, cause?: unknown): EdgeError {
  return new EdgeError('tool-missing', `${file} is not installed`, { cause, hint: 'run script/bootstrap' });
}
