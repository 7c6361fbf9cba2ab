import { KmendError } from '@kmend/base';

export type PackageErrorCode = 'node-missing' | 'architecture-unsupported';

export class PackageError extends KmendError<PackageErrorCode> {}
