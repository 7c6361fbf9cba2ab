import { type DiskFaultCode, diskFault, KmendError } from '@kmend/base';

/** docs/trust.md says of each code what it means and what to do. */
export type TrustErrorCode =
  // What a client meets on the way to a repository.
  | 'repository-unreachable'
  | 'repository-slow'
  | 'repository-garbage'
  | 'repository-too-large'
  | 'repository-unsigned'
  | 'repository-rollback'
  | 'repository-expired'
  | 'repository-mismatch'
  | 'not-found'
  | 'root-unusable'
  | 'not-cached'
  | 'cache-mismatch'
  | DiskFaultCode
  // Keys.
  | 'keys-exist'
  | 'keys-missing'
  | 'key-damaged'
  | 'key-wrong'
  | 'anchor-missing'
  | 'record-damaged'
  | 'livepatch-foreign'
  // The repository's own directory.
  | 'repository-exists'
  | 'repository-missing'
  | 'repository-damaged'
  // Publishing.
  | 'livepatch-unreadable'
  | 'livepatch-mismatch'
  | 'livepatch-not-publishable'
  | 'livepatch-unproven'
  | 'livepatch-proof-failed'
  | 'livepatch-barely-ran'
  | 'livepatch-proof-mismatch'
  | 'publication-outdated'
  | 'publication-invalid'
  | 'publication-unsigned'
  | 'publication-removes'
  | 'publication-mismatch'
  | 'publication-duplicate'
  | 'policy-invalid';

export class TrustError extends KmendError<TrustErrorCode> {}

const UNREACHABLE: ReadonlySet<TrustErrorCode> = new Set(['repository-unreachable', 'repository-slow']);
const UNTRUSTED: ReadonlySet<TrustErrorCode> = new Set([
  'repository-garbage',
  'repository-too-large',
  'repository-unsigned',
  'repository-rollback',
  'repository-expired',
  'repository-mismatch',
]);

/**
 * What a client's failure says of the repository: it was not reached, it answered something that may not be believed,
 * or the reason lies on this side (`local`: disk, cache, a livepatch that does not exist).
 */
export function failureKind(error: unknown): 'unreachable' | 'untrusted' | 'local' {
  if (!(error instanceof TrustError)) return 'local';
  if (UNREACHABLE.has(error.code)) return 'unreachable';
  return UNTRUSTED.has(error.code) ? 'untrusted' : 'local';
}

/**
 * The disk's own failure as an error with its code (`disk-full`, `disk-read-only`, `disk-failing`); any other is passed
 * through. `after`: what is true all the same.
 */
export function diskError(cause: unknown, where: string, after: string): unknown {
  const fault = diskFault(cause);
  if (fault === undefined || (cause instanceof TrustError && cause.code === fault.code)) return cause;
  return new TrustError(fault.code, `${fault.says} ${where}; ${after}`, {
    cause,
    hint: `${fault.hint}, and try again`,
  });
}
