import { type ChildProcess, spawn } from 'node:child_process';
import { cleanEnvironment } from '@kmend/base/node';

/**
 * Sets the death signal, then checks that the parent is still the same: if it died in between, the signal would never
 * come.
 */
const GUARD = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"';

/**
 * Starts a program that cannot outlive this process: the kernel kills it when this process ends for any reason, SIGKILL
 * included (prctl(2), PR_SET_PDEATHSIG). To be called from the main thread: the signal is sent when the *thread* that
 * forked ends. The program leads its own process group, so that Ctrl-C reaches it only through this process. Channels 3
 * and up are socket pairs.
 */
export function spawnBound(
  file: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly channels: number },
): ChildProcess {
  const guarded = ['--pdeathsig', 'KILL', '--', 'sh', '-c', GUARD, 'sh', String(process.pid), file, ...args];
  const channels = Array.from({ length: options.channels }, () => 'pipe' as const);
  return spawn('setpriv', guarded, {
    cwd: options.cwd,
    env: cleanEnvironment(),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...channels],
  });
}

/** A child that does its last act when this process releases it, or ends for any reason. */
export interface Keeper {
  /** Lets go; resolves when the last act is done. */
  release(): Promise<void>;
}

/**
 * Runs `script` in a shell that must print `held` and then wait for the end of its standard input, which comes by
 * `release()` or by the death of this process; what it does afterwards is its last act. Rejects when it never said
 * `held`.
 */
export async function keep(script: string, args: readonly string[], signal?: AbortSignal): Promise<Keeper> {
  const child = spawn('sh', ['-c', script, 'sh', ...args], {
    env: cleanEnvironment(),
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {});
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('utf8')).slice(-2000);
  });
  const onAbort = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL'); // the group: the shell and what it waits for
    } catch {
      // Gone already: its end is being reported.
    }
  };
  try {
    await new Promise<void>((resolve, reject) => {
      if (signal?.aborted) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      child.stdout.once('data', () => resolve());
      void gone.then(() => reject(signal?.aborted ? signal.reason : new Error(`sh ended early: ${said.trim()}`)));
    });
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  return {
    async release() {
      child.stdin.end();
      await gone;
    },
  };
}
