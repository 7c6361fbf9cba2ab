import { spawn } from 'node:child_process';
import { paths } from '../edges/paths.ts';
import { AgentError } from '../error.ts';

export interface Lock {
  release(): void;
}

/**
 * The right to act on this host (or, with another path, to be the one fetcher): its holder may load, revert and write
 * the journal. Node has no flock(2), so a small child of util-linux's flock(1) holds it for as long as its input is
 * open; when this process dies, however it dies, the kernel closes the pipe and the lock is free. Throws `busy`.
 */
export function takeLock(path: string = paths.lock): Promise<Lock> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      '/usr/bin/flock',
      ['--nonblock', '--conflict-exit-code', '75', path, 'sh', '-c', 'echo; exec cat'],
      {
        stdio: ['pipe', 'pipe', 'ignore'],
        // Its own process group: a Ctrl-C at the terminal must not free the lock before this process is done.
        detached: true,
      },
    );
    child.once('error', reject);
    child.stdin.on('error', () => {});
    child.stdout.once('data', () => {
      child.unref();
      resolve({ release: () => child.stdin.end() });
    });
    child.once('exit', (code) => {
      if (code === 75) {
        const hint = 'another kmend-agent command is at work: wait for it, then try again';
        reject(new AgentError('busy', 'another process of the agent is acting on this host', { hint }));
      } else {
        reject(new Error(`flock ended with ${code}`));
      }
    });
  });
}

/** Waits for the lock, for a command that finds another one at work. */
export async function waitForLock(
  sleep: (ms: number) => Promise<void>,
  tries: number,
  path: string = paths.lock,
): Promise<Lock> {
  for (let left = tries; ; left -= 1) {
    try {
      return await takeLock(path);
    } catch (error) {
      if (left <= 1 || !(error instanceof AgentError)) throw error;
      await sleep(500);
    }
  }
}
