import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { AgentError } from '../error.ts';

/** The user whom the network is left to. */
export const FETCHER_USER = 'kmend-agent';
const PROGRAM = '/usr/bin/kmend-agent';

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
}

/**
 * Runs a command of the agent as the fetcher's user, with no capability and no way to get one: root never talks to the
 * network. Its errors go to this process's stderr; stdout comes back.
 */
export async function asFetcher(
  args: readonly string[],
  options: {
    readonly stdin?: string;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly signal: AbortSignal;
  },
): Promise<Outcome> {
  const rights = ['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all', '--no-new-privs', '--clear-groups'];
  const child = spawn(
    '/usr/bin/setpriv',
    [`--reuid=${FETCHER_USER}`, `--regid=${FETCHER_USER}`, ...rights, PROGRAM, ...args],
    { stdio: ['pipe', 'pipe', 'inherit'], env: options.env, cwd: '/' },
  );
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 128)));
  });
  const stop = (): void => void child.kill('SIGTERM');
  options.signal.addEventListener('abort', stop, { once: true });
  child.stdin.on('error', () => {});
  child.stdin.end(options.stdin ?? '');
  try {
    const stdout = await text(child.stdout);
    const exitCode = await ended;
    // What setpriv itself says when it cannot become that user.
    if (exitCode === 127 || exitCode === 1) {
      throw new AgentError('fetcher-user', `cannot act as the user ${FETCHER_USER}`, {
        hint: 'install the package again: it makes that user (systemd-sysusers)',
      });
    }
    return { exitCode, stdout };
  } finally {
    options.signal.removeEventListener('abort', stop);
  }
}
