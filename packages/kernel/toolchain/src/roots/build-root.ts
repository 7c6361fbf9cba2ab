/** The Debian system whose compiler and tools run. */
export interface BuildRoot {
  /** Its folder; `/` is this machine's own. */
  readonly directory: string;
  /** What it consists of; absent for this machine's system, which its operator keeps. */
  readonly contents?: RootContents;
}

/** What a root was made of. */
export interface RootContents {
  /** Debian suite, e.g. `trixie`. */
  readonly suite: string;
  /** SHA-256 of suite and packages: what is compiled in two roots of one digest is the same. */
  readonly digest: string;
  /** Version by name of package, of all that are installed. */
  readonly packages: Readonly<Record<string, string>>;
}

/** This machine's system, where it has the very compiler that is needed. */
export const MACHINE: BuildRoot = { directory: '/' };
