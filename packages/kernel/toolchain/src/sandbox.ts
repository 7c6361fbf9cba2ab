import { errorCode, type Run, type RunOptions, type RunResult } from '@kmend/base';
import { brokenLimit, EdgeError, limitedCommand } from '@kmend/base/node';
import { ToolchainError } from './error.ts';
import { guardProcesses } from './processes.ts';
import { type SystemPart, systemArguments } from './system.ts';

/**
 * What a confined tool sees, at the same paths as outside, and where it may write. Nothing else is there, no network
 * either.
 */
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
const WATCH_MS = 100;
/** More than any tool needs. */
const PROCESSES = { compiler: 128, checker: 128, build: 1024 } as const satisfies Record<SystemPart, number>;

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
 * A `Run` whose tools are confined. Errors beside those of `Run`: `sandbox-unavailable` where this machine cannot
 * confine, `tool-limit` also for a tool that starts too many processes. `cwd` is a folder that is seen; without it
 * `/tmp`, which is the sandbox's own.
 */
export function sandboxed(run: Run, sandbox: Sandbox): Run {
  const processes = PROCESSES[sandbox.system];
  return async (file, args, options: RunOptions = {}) => {
    const { cwd = '/tmp', env, signal, ...others } = options;
    // Inside, where the kernel counts the processes of the sandbox alone; more than the guard allows, so that it sees
    // it.
    const [program, words] = limitedCommand(file, args, { processes: 2 * processes });
    const guard = guardProcesses(processes);
    const watched = new AbortController();
    let watch: NodeJS.Timeout | undefined;
    const confined = async (): Promise<RunResult> => {
      try {
        const [first = '', ...command] = [
          ...guard.prefix,
          'bwrap',
          ...sandboxArguments(sandbox, cwd),
          program,
          ...words,
        ];
        return await run(first, command, {
          ...others,
          env: { ...ENVIRONMENT, ...env },
          signal: signal === undefined ? watched.signal : AbortSignal.any([signal, watched.signal]),
          started: (pid) => {
            watch = setInterval(() => {
              if (guard.isBroken(pid)) watched.abort();
            }, WATCH_MS);
          },
        });
      } catch (error) {
        if (watched.signal.aborted) throw tooMany(file, error);
        if (errorCode(error) === 'tool-missing') throw unavailable('bubblewrap is not installed', error);
        if (!(error instanceof EdgeError)) throw error;
        throw new EdgeError(error.code, error.message.replace(/^(?:bwrap|sh) /, `${file} `), {
          cause: error,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        });
      } finally {
        clearInterval(watch);
        guard.end();
      }
    };
    return ended(file, await confined());
  };
}

/** What bwrap(1) says when it cannot make the sandbox; the tool itself was not started then. */
const REFUSED =
  /^bwrap: ((?:No permissions|Creating new namespace|setting up [ug]id map|Failed to make|Failed to mount|Can't mount|Unexpected capabilities|loopback: |pivot_root|unshare|prctl|setns|Can't set).*)$/m;

/** What shells, make and gcc say when the kernel gives them no process (fork(2), `EAGAIN`). */
const NO_PROCESS = /^.*(?:Cannot fork|fork: (?:retry: )?Resource temporarily unavailable)$/m;

function tooMany(file: string, cause?: unknown): EdgeError {
  return new EdgeError('tool-limit', `${file} started more processes than it may`, {
    cause,
    hint: 'no file of a kernel needs this many: the fix is damaged or hostile',
  });
}

function ended(file: string, result: RunResult): RunResult {
  const { exitCode, stderr, stdout } = result;
  if (exitCode === 127 && /^sh: .*: not found$/m.test(stderr)) throw unavailable('bubblewrap is not installed');
  if (exitCode === 2 && /^sh: .*cgroup\.procs/m.test(stderr)) throw unavailable(`its control group is lost: ${stderr}`);
  const refused = exitCode === 1 && stdout.length === 0 ? REFUSED.exec(stderr)?.[1] : undefined;
  if (refused !== undefined) throw unavailable(`user namespaces or mounts are refused on this machine: ${refused}`);
  if (NO_PROCESS.test(stderr)) throw tooMany(file);
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
