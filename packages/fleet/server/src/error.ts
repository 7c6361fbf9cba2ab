import { type DiskFaultCode, KmendError } from '@kmend/base';

/** docs/server.md says of each code what it means. The API answers with them, too, as `error.code`. */
export type ServerErrorCode =
  // Starting.
  | 'tls-required'
  | 'tls-unusable'
  | 'data-dir-busy'
  | 'data-dir-unusable'
  | 'address-unusable'
  | 'proxy-invalid'
  | 'store-damaged'
  | 'store-missing'
  | DiskFaultCode
  // Answers of the API.
  | 'bad-request'
  | 'too-large'
  | 'unauthorized'
  | 'rate-limited'
  | 'server-stopping'
  | 'not-found'
  | 'host-removed'
  | 'sequence-jump'
  | 'key-unknown'
  | 'key-expired'
  | 'key-revoked'
  | 'key-no-seats'
  | 'upload-mismatch'
  | PackagesErrorCode
  | 'internal'
  // What the operator's client meets.
  | 'token-unreadable'
  | 'server-unreachable'
  | 'proxy-refused'
  | 'server-slow'
  | 'server-garbage'
  | 'rotation-unseen';

/** Why a repository of packages, or a request for one of its files, is refused. */
export type PackagesErrorCode =
  | 'tar-damaged'
  | 'tar-extended'
  | 'tar-link'
  | 'tar-special'
  | 'tar-path-absolute'
  | 'tar-path-escapes'
  | 'tar-path-too-long'
  | 'tar-path-unusable'
  | 'tar-duplicate'
  | 'tar-too-many-files'
  | 'tar-file-too-large'
  | 'tar-too-large'
  | 'packages-incomplete'
  | 'packages-unsigned'
  | 'packages-busy'
  | 'range-unsatisfiable'
  | 'host-unnamed';

export class ServerError extends KmendError<ServerErrorCode> {}
