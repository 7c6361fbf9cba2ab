import { mkdir } from 'node:fs/promises';
import type { Edges } from '@kmend/base';
import { bashArguments, cleanEnvironment } from '@kmend/base/node';
import { ToolchainError } from '../error.ts';
import { systemPath } from './record.ts';
import { KBUILD_PACKAGES, type WantedRoot } from './wanted.ts';

/** What no compile reads. */
const EXCLUDED = ['/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*', '/usr/share/info/*'];
/** What of the system is kept: programs, libraries, headers, what `awk` is, and dpkg's list of it. */
const KEPT = ['./usr', './bin', './sbin', './lib', './lib64', './etc/alternatives', './var/lib/dpkg/status'];
const LIMIT_MS = 15 * 60_000;

/** What apt says of a version or a package that the archive does not have. */
const NOT_THERE = /^E: (?:Version '.*' for '\S+' was not found|Unable to locate package \S+)$/m;

/** Arguments of mmdebstrap(1), which writes a tar archive to its output; apt checks signatures and hashes. */
export function mmdebstrapArguments(wanted: WantedRoot, mode: 'root' | 'unshare', mirror?: string): string[] {
  const { suite, compiler } = wanted;
  return [
    `--mode=${mode}`,
    '--variant=minbase',
    '--format=tar',
    `--include=${[`${compiler.name}=${compiler.version}`, ...KBUILD_PACKAGES].join(',')}`,
    '--aptopt=Apt::Install-Recommends "false"',
    ...EXCLUDED.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    suite,
    '-',
    ...(mirror === undefined ? [] : [mirror]),
  ];
}

/**
 * Installs the system of a root into its folder, without the owners, devices and set-user-id bits of a real one:
 * nothing of it ever runs outside the sandbox. `compiler-unavailable` where the suite has another revision of the
 * compiler, `root-failed` where it could not be installed.
 */
export async function installRoot(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  wanted: WantedRoot,
  directory: string,
  mirror: string | undefined,
): Promise<void> {
  await mkdir(systemPath(directory), { recursive: true });
  const mode = process.getuid?.() === 0 ? 'root' : 'unshare';
  const script = `set -o pipefail; into=$1 kept=$2; shift 2
    mmdebstrap "$@" | tar -x --no-same-owner --no-same-permissions -C "$into" $kept`;
  const args = bashArguments(
    script,
    systemPath(directory),
    KEPT.join(' '),
    ...mmdebstrapArguments(wanted, mode, mirror),
  );
  const environment = cleanEnvironment();
  const env = { ...environment, PATH: `${environment['PATH']}:/usr/sbin:/sbin` };
  const { exitCode, stderr } = await run('bash', args, { signal, env, timeoutMs: LIMIT_MS });
  if (exitCode === 0) return;
  throw NOT_THERE.test(stderr) ? unavailable(wanted) : failed(wanted, stderr);
}

function unavailable({ suite, compiler }: WantedRoot): ToolchainError {
  const { name, version } = compiler;
  return new ToolchainError('compiler-unavailable', `the archive's suite ${suite} no longer has ${name} ${version}`, {
    hint: `kmend compiles with the very compiler of a kernel: build for a newer kernel of ${suite}, or install that revision of ${name} on this machine`,
  });
}

function failed({ suite }: WantedRoot, said: string): ToolchainError {
  // What tar says of an archive that ended early follows from that.
  const errors = said.split('\n').filter((line) => /^(?:E|mmdebstrap|bash): /.test(line));
  const why = (errors.length > 0 ? errors : said.trim().split('\n')).slice(0, 4).join('\n');
  return new ToolchainError('root-failed', `the build root of ${suite} could not be made:\n${why}`, {
    hint: 'see that script/bootstrap went through and that the Debian mirror can be reached (KMEND_MIRROR names another)',
  });
}
