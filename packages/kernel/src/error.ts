import { KmendError } from '@kmend/base';

export type KernelErrorCode =
  | 'archive-unreachable'
  | 'archive-untrusted'
  | 'archive-expired'
  | 'archive-garbage'
  | 'package-unknown'
  | 'package-damaged'
  | 'kernel-unknown'
  | 'kernel-spec'
  | 'kernel-without-livepatch'
  | 'kernel-not-added'
  | 'kernel-record'
  | 'kernel-compiler'
  | 'module-unreadable'
  | 'kernel-incomplete'
  | 'image-unsupported'
  | 'kallsyms-not-found'
  | 'symvers-garbage'
  | 'btf-missing'
  | 'cache-unwritable'
  | 'source-path';

export class KernelError extends KmendError<KernelErrorCode> {}
