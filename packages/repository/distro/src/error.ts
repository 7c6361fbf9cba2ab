import { KmendError } from '@kmend/base';

/** docs/repositories.md says of each code what it means and what to do. */
export type DistroErrorCode =
  // The depot's own folder.
  | 'depot-exists'
  | 'depot-missing'
  | 'depot-damaged'
  // What may go into it.
  | 'kernel-unknown'
  | 'kernel-ambiguous'
  | 'name-taken'
  | 'release-taken'
  | 'fix-present'
  | 'stack-order'
  | 'stack-undoes'
  | 'stacked-several'
  | 'cumulative-lacks-fixes'
  | 'nothing-published'
  | 'livepatch-published'
  | 'manifest-invalid'
  // Keys.
  | 'key-exists'
  | 'key-missing'
  | 'key-readable'
  | 'key-invalid'
  // Packages and repositories.
  | 'loader-missing'
  | 'setting-invalid'
  | 'out-occupied';

export class DistroError extends KmendError<DistroErrorCode> {}
