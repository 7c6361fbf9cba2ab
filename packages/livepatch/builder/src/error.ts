import { KmendError } from '@kmend/base';

export type BuilderErrorCode =
  | 'compiler-missing'
  | 'compiler-differs'
  | 'tree-config-differs'
  | 'tree-failed'
  | 'kernel-not-proven'
  | 'unit-not-built'
  | 'unit-flags-unknown'
  | 'fix-unknown'
  | 'fix-exists'
  | 'fix-garbage'
  | 'fix-unsafe-path'
  | 'fix-empty'
  | 'fix-without-origin'
  | 'fix-conflict'
  | 'version-malformed'
  | 'patch-does-not-apply'
  | 'patch-ambiguous'
  | 'patch-changes-nothing'
  | 'patch-does-not-compile'
  | 'include-outside-tree'
  | 'source-unsupported'
  | 'header-too-wide'
  | 'object-unsupported'
  | 'object-unreadable'
  | 'symbols-unreadable'
  | 'dwarf-damaged'
  | 'link-failed'
  | 'output-exists'
  | 'sign-key-unreadable'
  | 'sign-key-exposed'
  | 'sign-key-locked'
  | 'sign-key-unsupported'
  | 'sign-key-mismatch'
  | 'sign-cert-unreadable'
  | 'sign-failed';

/**
 * Something that ends a build before there is a verdict. What makes a fix unfit for live patching is a `Reason`
 * instead.
 */
export class BuilderError extends KmendError<BuilderErrorCode> {}
