import type { Run } from '@kmend/base';
import * as z from 'zod';
import type { BuiltPackage } from './build.ts';
import type { Follower } from './follower.ts';
import type { Signer } from './openpgp.ts';
import type { Offer, Suite } from './suites.ts';

/** How hosts see the publisher; must not change once hosts follow the repository. */
export const RepositorySettings = z.object({
  /** Who publishes: `Origin` of the suites, and their `Label` (that of `security` is `<origin>-security`). */
  origin: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]*$/, 'letters, digits, blanks, ".", "_" and "-" only'),
  /** `Name <address>` */
  maintainer: z
    .string()
    .max(200)
    .regex(/^[^\s<>,%][^<>,%\p{Cc}]* <[^\s<>@%]+@[^\s<>@%]+>$/u, 'not "Name <address>"'),
  /** Where hosts find the repository. */
  url: z.url({ protocol: /^(https?|file)$/ }).regex(/^[!-~]+$/, 'not an address'),
  /** Days after which APT does not believe the repository any more, unless it is published again. */
  validDays: z.int().min(1).max(365).default(14),
});
export type RepositorySettings = z.infer<typeof RepositorySettings>;

/** Input of a format's writer: every built package, and which of them each suite has. */
export interface Contents {
  readonly run: Run;
  readonly signer: Signer;
  readonly settings: RepositorySettings;
  readonly now: Date;
  readonly packages: readonly BuiltPackage[];
  readonly suites: ReadonlyMap<Suite, SuiteContents>;
}

export interface SuiteContents {
  /** Names of package files. */
  readonly files: ReadonlySet<string>;
  readonly offers: readonly Offer[];
  /** What follows each flavour, at the version of this suite. */
  readonly followers: readonly (Follower & { readonly version: string })[];
}
