import { mkdir } from 'node:fs/promises';
import type { Edges } from '@kmend/base';
import { bashArguments } from '@kmend/base/node';
import { toolEnvironment } from '../environment.ts';
import { ToolchainError } from '../error.ts';
import { MMDEBSTRAP_HINT, mmdebstrapArguments, type SystemSource } from './mmdebstrap.ts';
import { systemPath } from './record.ts';
import { KBUILD_PACKAGES, type WantedRoot } from './wanted.ts';

/** What of the system is kept: programs, libraries, headers, what `awk` is, and dpkg's list of it. */
const KEPT = ['./usr', './bin', './sbin', './lib', './lib64', './etc/alternatives', './var/lib/dpkg/status'];
const LIMIT_MS = 15 * 60_000;

/** What apt says of a version or a package that the archive does not have. */
const NOT_THERE = /^E: (?:Version '.*' for '\S+' was not found|Unable to locate package \S+)$/m;

/**
 * Installs the system of a root into its folder, without the owners, devices and set-user-id bits of a real one:
 * nothing of it ever runs outside the sandbox. `compiler-unavailable` where the suite has another revision of the
 * compiler, `root-failed` where it could not be installed.
 */
export async function installRoot(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  wanted: WantedRoot,
  directory: string,
  source: SystemSource,
): Promise<void> {
  await mkdir(systemPath(directory), { recursive: true });
  const { suite, compiler } = wanted;
  const packages = [`${compiler.name}=${compiler.version}`, ...KBUILD_PACKAGES];
  const mode = process.getuid?.() === 0 ? 'root' : 'unshare';
  const script = `set -o pipefail; into=$1 kept=$2; shift 2
    mmdebstrap "$@" | tar -x --no-same-owner --no-same-permissions -C "$into" $kept`;
  const args = bashArguments(
    script,
    systemPath(directory),
    KEPT.join(' '),
    ...mmdebstrapArguments({ suite, packages, source }, mode, '-'),
  );
  const { exitCode, stderr } = await run('bash', args, { signal, env: toolEnvironment(), timeoutMs: LIMIT_MS });
  if (exitCode === 0) return;
  throw NOT_THERE.test(stderr) ? unavailable(wanted) : failed(wanted, stderr);
}

function unavailable({ suite, compiler }: WantedRoot): ToolchainError {
  const { name, version } = compiler;
  return new ToolchainError('compiler-unavailable', `the archive's suite ${suite} no longer has ${name} ${version}`, {
    hint: `a kernel needs exactly its own compiler: build for a newer kernel of ${suite}, or install that revision of ${name} on this machine`,
  });
}

function failed({ suite }: WantedRoot, said: string): ToolchainError {
  // What tar says of an archive that ended early follows from that, and `I:` is progress. The cause stands at the end.
  const told = said.split('\n').filter((line) => line.trim() !== '' && !/^(?:tar|I): /.test(line));
  const why = (told.length > 0 ? told : said.trim().split('\n')).slice(-6).join('\n');
  return new ToolchainError('root-failed', `the build root of ${suite} could not be made:\n${why}`, {
    hint: MMDEBSTRAP_HINT,
  });
}
