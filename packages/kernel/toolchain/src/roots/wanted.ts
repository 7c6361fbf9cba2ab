import { sha256 } from '@kmend/base/node';

/** A compiler as Debian packages it. */
export interface DebianCompiler {
  /** e.g. `gcc-14`. */
  readonly name: string;
  /** Version of the package, e.g. `14.2.0-19`. */
  readonly version: string;
}

/** What a root must be. */
export interface WantedRoot {
  /** Debian suite, e.g. `trixie`. */
  readonly suite: string;
  readonly compiler: DebianCompiler;
}

/** Beside the compiler: what Kbuild runs for `prepare` and `modules_prepare`, and what objtool and certs link with. */
export const KBUILD_PACKAGES: readonly string[] = [
  'gcc', // programs that run while the kernel is built
  'libc6-dev',
  'binutils',
  'make',
  'bc',
  'bison',
  'flex',
  'libelf-dev',
  'libssl-dev',
  'openssl', // Kconfig asks it for the algorithms of signatures (7.x)
  'pkg-config',
  'python3-minimal', // writes headers of libbpf, for resolve_btfids
  'dwarves', // pahole, whose version is in the configuration
  'rsync',
  'kmod',
  'cpio',
  'xz-utils',
  'zstd',
];

/**
 * The package of the compiler that a kernel's `CONFIG_CC_VERSION_TEXT` names, such as
 * `x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0`; `undefined` where that is none of Debian's.
 */
export function debianCompiler(text: string): DebianCompiler | undefined {
  const [, name, version] = /^(?:x86_64-linux-gnu-)?(gcc-\d+) \(Debian ([0-9][0-9A-Za-z.+~-]*)\) /.exec(text) ?? [];
  return name === undefined || version === undefined ? undefined : { name, version };
}

/** Name of the folder of a root: one for each suite, compiler and list of packages. */
export function rootName({ suite, compiler }: WantedRoot): string {
  const recipe = sha256(JSON.stringify(KBUILD_PACKAGES)).slice(0, 8);
  return `${suite}-${compiler.name}-${compiler.version}-${recipe}`;
}
