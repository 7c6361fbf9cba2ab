import { KmendError } from '@kmend/base';

export type AuditErrorCode =
  /** The livepatch has findings. */
  | 'audit-failed'
  /** A folder without a livepatch, or one whose parts cannot be read. */
  | 'audit-unreadable';

export class AuditError extends KmendError<AuditErrorCode> {}
