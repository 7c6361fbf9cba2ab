/** Where a Debian system is installed from. */
export interface SystemSource {
  /** Debian's archive; absent: the default of mmdebstrap. */
  readonly mirror?: string | undefined;
  /** Suites under development whose index may be out of date. */
  readonly acceptExpired?: ReadonlySet<string>;
}

/** A Debian system to install. */
export interface DebianSystem {
  /** e.g. `trixie`. */
  readonly suite: string;
  /** Packages beside the smallest system, as apt takes them: `make`, `gcc-14=14.2.0-19`. */
  readonly packages: readonly string[];
  readonly source: SystemSource;
  /** Shell commands that run last; `$1` is the new system. */
  readonly customize?: string;
}

/** What neither a compile nor a guest of the lab reads. */
const EXCLUDED = ['/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*', '/usr/share/info/*'];

/** What to do when mmdebstrap fails. */
export const MMDEBSTRAP_HINT =
  'run script/bootstrap, and check that the Debian mirror can be reached (KMEND_MIRROR names another)';

/**
 * Arguments of mmdebstrap(1), which writes a tar archive to `output` (`-`: its standard output); apt checks signatures
 * and hashes. `mode`: `unshare` where the caller is not root.
 */
export function mmdebstrapArguments(system: DebianSystem, mode: 'root' | 'unshare', output: string): string[] {
  const { suite, packages, source, customize } = system;
  const { mirror, acceptExpired } = source;
  return [
    `--mode=${mode}`,
    '--variant=minbase',
    '--format=tar',
    `--include=${packages.join(',')}`,
    '--aptopt=Apt::Install-Recommends "false"',
    ...(acceptExpired?.has(suite) === true ? ['--aptopt=Acquire::Check-Valid-Until "false"'] : []),
    ...EXCLUDED.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    ...(customize === undefined ? [] : [`--customize-hook=${customize}`]),
    suite,
    output,
    ...(mirror === undefined ? [] : [mirror]),
  ];
}
