import { errorCode, KmendError } from '@kmend/base';

export type KernelErrorCode =
  | 'archive-unreachable'
  | 'archive-untrusted'
  | 'archive-expired'
  | 'archive-garbage'
  | 'archive-incomplete'
  | 'package-unknown'
  | 'package-damaged'
  | 'kernel-unknown'
  | 'kernel-spec'
  | 'kernel-without-livepatch'
  | 'kernel-not-added'
  | 'kernel-ambiguous'
  | 'kernel-record'
  | 'kernel-compiler'
  | 'module-unreadable'
  | 'kernel-incomplete'
  | 'kernel-architecture'
  | 'kernel-parts-differ'
  | 'kernel-exists'
  | 'image-unsupported'
  | 'kallsyms-not-found'
  | 'symvers-garbage'
  | 'btf-missing'
  | 'cache-unwritable'
  | 'source-path'
  | 'source-patches';

export class KernelError extends KmendError<KernelErrorCode> {}

/** A tool failed over what it was given: it could not read it, or went on without an end. */
export function isDamage(error: unknown): boolean {
  return ['tool-failed', 'tool-timeout', 'tool-limit', 'output-too-large'].includes(errorCode(error) ?? '');
}
