import { errorCode, type Run, type RunOptions, type RunResult } from '@kmend/base';
import { brokenLimit, EdgeError, limitedCommand } from '@kmend/base/node';
import { ToolchainError } from './error.ts';
import { countProcesses, watchProcesses } from './processes.ts';
import { type SystemPart, systemArguments } from './system.ts';

/** What a confined tool sees, at the same paths as outside, and where it may write. Nothing else is there, no network either. */
export interface Sandbox {
  /** The Debian system whose programs run: `/` is this machine's, any other folder a build root. */
  readonly root: string;
  readonly system: SystemPart;
  /** Files and folders; those that do not exist are an error of the caller. */
  readonly readOnly: readonly string[];
  /** Files that the tool writes: they must exist. A folder here can be filled without bound. */
  readonly writable: readonly string[];
}

/** Everything a tool gets to know of its environment. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', HOME: '/tmp', TMPDIR: '/tmp' };

/** Bytes of temporary files, in memory: the assembler's input of the largest units has 200 MB. */
const TEMPORARY_SIZE = 2 ** 30;
const PROCESSES = { compiler: 128, build: 1024 } as const satisfies Record<SystemPart, number>;

/** Arguments of bwrap(1), up to the command. */
export function sandboxArguments(sandbox: Sandbox, cwd: string): string[] {
  return [
    // As root a container without user namespaces is no obstacle: bwrap then drops root's capabilities instead.
    '--unshare-user-try',
    '--unshare-pid',
    '--unshare-net',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup-try',
    '--cap-drop',
    'ALL',
    // A tool cannot type into the operator's terminal (TIOCSTI), and dies with kmend.
    '--new-session',
    '--die-with-parent',
    ...systemArguments(sandbox.root, sandbox.system),
    '--dev-bind',
    '/dev/null',
    '/dev/null',
    '--size',
    String(TEMPORARY_SIZE),
    '--tmpfs',
    '/tmp',
    ...sandbox.readOnly.flatMap((path) => ['--ro-bind', path, path]),
    ...sandbox.writable.flatMap((path) => ['--bind', path, path]),
    // What holds the mounts together is a file system in memory without a bound.
    '--remount-ro',
    '/',
    '--chdir',
    cwd,
    '--',
  ];
}

/**
 * A `Run` whose tools are confined. Errors beside those of `Run`: `sandbox-unavailable` where this machine cannot confine, `tool-limit` also for a tool
 * that starts too many processes. `cwd` is a folder that is seen; without it `/tmp`, which is the sandbox's own.
 */
export function sandboxed(run: Run, sandbox: Sandbox): Run {
  const processes = PROCESSES[sandbox.system];
  return async (file, args, options: RunOptions = {}) => {
    const { limits, cwd = '/tmp', env, signal, ...others } = options;
    // Inside, where the kernel counts the processes of the sandbox alone; twice as many, so that kmend sees that there are too many.
    const [program, words] = limitedCommand(file, args, { ...limits, processes: 2 * processes });
    const watched = new AbortController();
    let watch: NodeJS.Timeout | undefined;
    const confined = async (): Promise<RunResult> => {
      try {
        return await run('bwrap', [...sandboxArguments(sandbox, cwd), program, ...words], {
          ...others,
          env: { ...ENVIRONMENT, ...env },
          signal: signal === undefined ? watched.signal : AbortSignal.any([signal, watched.signal]),
          started: (pid) => {
            watch = watchProcesses(
              () => countProcesses(pid),
              processes,
              () => watched.abort(),
            );
          },
        });
      } catch (error) {
        if (watched.signal.aborted)
          throw new EdgeError('tool-limit', `${file} started more than ${processes} processes`, { cause: error });
        if (errorCode(error) === 'tool-missing') throw unavailable('bubblewrap is not installed', error);
        throw error;
      } finally {
        clearInterval(watch);
      }
    };
    return ended(file, await confined());
  };
}

/** What bwrap(1) says when it cannot make the sandbox; the tool itself was not started then. */
const REFUSED =
  /^bwrap: ((?:No permissions|Creating new namespace|setting up [ug]id map|Failed to make|Failed to mount|Can't mount|Unexpected capabilities|loopback: |pivot_root|unshare|prctl|setns|Can't set).*)$/m;

function ended(file: string, result: RunResult): RunResult {
  const { exitCode, stderr, stdout } = result;
  const refused = exitCode === 1 && stdout.length === 0 ? REFUSED.exec(stderr)?.[1] : undefined;
  if (refused !== undefined) throw unavailable(`this machine lets nobody make one: ${refused}`);
  const broken = brokenLimit(file, exitCode, stderr);
  if (broken !== undefined) throw broken;
  return result;
}

function unavailable(why: string, cause?: unknown): ToolchainError {
  return new ToolchainError('sandbox-unavailable', `nothing is compiled without a sandbox, and ${why}`, {
    cause,
    hint: 'run script/bootstrap; allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), in a container by its security options; or build in a virtual machine',
  });
}
