import type { TrustErrorCode } from '@kmend/trust';
import type { ServerErrorCode } from '../error.ts';

type Code = ServerErrorCode | TrustErrorCode;

/**
 * HTTP status of every code that there is: a new code does not compile before it is decided here how requests are
 * answered. `null`: not meant for clients; if a request causes it nevertheless, the answer is `internal` and the text
 * stays in the log.
 */
const STATUS: Readonly<Record<Code, number | null>> = {
  // Answers of the API.
  'bad-request': 400,
  'too-large': 413,
  unauthorized: 401,
  'rate-limited': 429,
  'server-stopping': 503,
  'not-found': 404,
  'host-removed': 401,
  'sequence-jump': 409,
  'key-unknown': 403,
  'key-expired': 403,
  'key-revoked': 403,
  'key-no-seats': 403,
  'upload-mismatch': 422,
  internal: 500,
  'disk-full': 507,
  'disk-read-only': 507,
  'disk-failing': 507,
  // Package repositories.
  'tar-damaged': 422,
  'tar-extended': 422,
  'tar-link': 422,
  'tar-special': 422,
  'tar-path-absolute': 422,
  'tar-path-escapes': 422,
  'tar-path-too-long': 422,
  'tar-path-unusable': 422,
  'tar-duplicate': 422,
  'tar-too-many-files': 413,
  'tar-file-too-large': 413,
  'tar-too-large': 413,
  'packages-incomplete': 422,
  'packages-unsigned': 422,
  'packages-busy': 409,
  'range-unsatisfiable': 416,
  'host-unnamed': 403,
  // Publishing and policy, from the signed repository.
  'key-wrong': 409,
  'livepatch-unreadable': 422,
  'publication-outdated': 409,
  'publication-invalid': 422,
  'publication-unsigned': 422,
  'publication-removes': 422,
  'publication-mismatch': 422,
  'publication-duplicate': 409,
  'policy-invalid': 422,
  // Met at start, by the client, or by the signed repository on its own disk.
  'tls-required': null,
  'tls-unusable': null,
  'data-dir-busy': null,
  'data-dir-unusable': null,
  'address-unusable': null,
  'proxy-invalid': null,
  'store-damaged': null,
  'store-missing': null,
  'token-unreadable': null,
  'server-unreachable': null,
  'proxy-refused': null,
  'server-slow': null,
  'server-garbage': null,
  'rotation-unseen': null,
  'repository-unreachable': null,
  'repository-slow': null,
  'repository-garbage': null,
  'repository-too-large': null,
  'repository-unsigned': null,
  'repository-rollback': null,
  'repository-expired': null,
  'repository-mismatch': null,
  'root-unusable': null,
  'not-cached': null,
  'cache-mismatch': null,
  'keys-exist': null,
  'keys-missing': null,
  'key-damaged': null,
  'anchor-missing': null,
  'record-damaged': null,
  'livepatch-foreign': null,
  'repository-exists': null,
  'repository-missing': null,
  'repository-damaged': null,
  'livepatch-mismatch': null,
  'livepatch-not-publishable': null,
  'livepatch-unproven': null,
  'livepatch-proof-failed': null,
  'livepatch-barely-ran': null,
  'livepatch-proof-mismatch': null,
};

export function statusOf({ code }: { readonly code: Code }): number | null {
  return STATUS[code];
}

/** Every code that a request may be answered with, and its status. */
export function answeredCodes(): Record<string, number> {
  const answered = Object.entries(STATUS).flatMap(([code, status]) =>
    status === null ? [] : [[code, status] as const],
  );
  return Object.fromEntries(answered);
}
