import type { Signer } from './openpgp.ts';

/** `version`, and the revision of the packaging where it has one: Debian's `1-2`, RPM's Version 1 and Release 2. */
export interface PackageVersion {
  readonly version: string;
  readonly revision?: number;
}

/** A package that is needed at this very version, or in any. */
export interface Need {
  readonly name: string;
  readonly exactly?: PackageVersion;
  /** Only beside the kernel of this release. RPM alone can say so; `canBeConditional` tells of which. */
  readonly beside?: string;
}

export type FileContent =
  | { readonly text: string }
  | { readonly bytes: Uint8Array }
  /** A file of the depot, by its SHA-256. */
  | { readonly file: string; readonly sha256: string }
  /** A detached signature over this text, made while the package is built. */
  | { readonly signatureOf: string };

export interface PackagedFile {
  /** From the root, without the first slash. */
  readonly path: string;
  readonly mode: number;
  readonly content: FileContent;
}

export interface Change extends PackageVersion {
  readonly at: Date;
  /** One line each. */
  readonly lines: readonly string[];
}

/** A package, independent of its format. */
export interface PackageSpec extends PackageVersion {
  readonly name: string;
  readonly architecture: 'all' | 'amd64';
  /** SPDX. */
  readonly licence: string;
  /** One line. */
  readonly summary: string;
  /** One line each; no line breaks by width. */
  readonly description: readonly string[];
  readonly needs: readonly Need[];
  /** Packages that are of no use beside this one, up to these versions: dnf removes them when this one comes. */
  readonly replaces: readonly Required<Pick<Need, 'name' | 'exactly'>>[];
  /** APT does so, too. */
  readonly takesOut: boolean;
  readonly files: readonly PackagedFile[];
  /** Maintainer scripts by the name that the format gives them. */
  readonly scripts: Readonly<Record<string, string>>;
  /** Newest first. */
  readonly changes: readonly Change[];
  /** The time that everything in it carries. */
  readonly at: Date;
}

/** Who builds it. */
export interface PackageMaker {
  readonly signer: Signer;
  /** `Name <address>` */
  readonly maintainer: string;
}

export function versionText({ version, revision }: PackageVersion): string {
  return revision === undefined ? version : `${version}-${revision}`;
}
