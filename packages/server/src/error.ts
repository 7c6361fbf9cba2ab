import { type DiskFaultCode, KmendError } from '@kmend/base';

/** docs/server.md says of each code what it means. The API answers with them, too, as `error.code`. */
export type ServerErrorCode =
  // Starting.
  | 'tls-required'
  | 'tls-unusable'
  | 'data-dir-busy'
  | 'address-unusable'
  | 'store-damaged'
  | DiskFaultCode
  // Answers of the API.
  | 'bad-request'
  | 'too-large'
  | 'unauthorized'
  | 'rate-limited'
  | 'not-found'
  | 'key-unknown'
  | 'key-expired'
  | 'key-revoked'
  | 'key-no-seats'
  | 'upload-mismatch'
  | 'internal'
  // What the operator's client meets.
  | 'token-unreadable'
  | 'server-unreachable'
  | 'server-slow'
  | 'server-garbage';

export class ServerError extends KmendError<ServerErrorCode> {}
