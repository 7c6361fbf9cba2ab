import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Run, RunOptions, RunResult } from '../process.ts';
import { EdgeError, toolMissing } from './error.ts';
import { brokenLimit, limitedCommand, USUAL_LIMITS } from './limits.ts';

const DEFAULT_TIMEOUT_MS = 10 * 60_000;
const DEFAULT_MAX_OUTPUT = 64 * 1024 * 1024;

/** The environment tools get unless told otherwise: nothing of the caller's that could change what they do or leak. */
export function cleanEnvironment(): Record<string, string> {
  const { PATH, HOME, TMPDIR } = process.env;
  return {
    PATH: PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    ...(HOME === undefined ? {} : { HOME }),
    ...(TMPDIR === undefined ? {} : { TMPDIR }),
  };
}

/**
 * Arguments that have `bash` run a script, with `words` as $1 and on. Started by `run` it has a socket at its stdin,
 * takes itself for a remote login (bash(1), INVOCATION), and would read the caller's ~/.bashrc.
 */
export function bashArguments(script: string, ...words: string[]): string[] {
  return ['--norc', '-c', script, 'bash', ...words];
}

export const run: Run = (file, args, options: RunOptions = {}) =>
  new Promise<RunResult>((resolve, reject) => {
    const limit = options.maxOutput ?? DEFAULT_MAX_OUTPUT;
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    if (options.signal?.aborted) {
      reject(new EdgeError('interrupted', `${file} was not started: interrupted`));
      return;
    }
    // detached: the child leads its own process group, so that a kill reaches what it started too.
    const [program, words] = limitedCommand(file, args, options.limits);
    const child = spawn(program, words, {
      cwd: options.cwd,
      env: options.env ?? cleanEnvironment(),
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    if (child.pid !== undefined) options.started?.(child.pid);
    let failure: EdgeError | undefined;
    const stop = (error: EdgeError): void => {
      if (failure !== undefined) return;
      failure = error;
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The group is gone already: its end is being reported.
      }
    };
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const collect = (into: Buffer[]): ((chunk: Buffer) => void) => {
      let size = 0;
      return (chunk) => {
        size += chunk.length;
        if (size > limit) stop(new EdgeError('output-too-large', `${file} printed more than ${limit} bytes`));
        else into.push(chunk);
      };
    };
    child.stdout.on('data', collect(out));
    child.stderr.on('data', collect(err));
    // A child that exits without reading its input breaks the pipe; its exit code tells the story.
    child.stdin.on('error', () => {});
    child.stdin.end(options.stdin ?? '');
    const timer = setTimeout(
      () => stop(new EdgeError('tool-timeout', `${file} did not end within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    const onAbort = (): void => stop(new EdgeError('interrupted', `${file} was interrupted`));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const settle = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      settle();
      reject(
        cause.code === 'ENOENT'
          ? toolMissing(program, cause)
          : new EdgeError('tool-failed', `${file} could not be started: ${cause.message}`, { cause }),
      );
    });
    child.on('close', (code, signal) => {
      settle();
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      const stderr = Buffer.concat(err).toString('utf8');
      const broken = options.limits === undefined ? undefined : brokenLimit(file, exitCode, stderr);
      if (broken !== undefined) reject(broken);
      else resolve({ exitCode, stdout: Buffer.concat(out), stderr });
    });
  });

/** As `run`, and within limits whatever the tool reads; `limits` of a call lower or raise them. */
export const limitedRun: Run = (file, args, options = {}) =>
  run(file, args, { ...options, limits: { ...USUAL_LIMITS, ...options.limits } });

/** Runs a program and returns its stdout; a non-zero exit is `tool-failed` with the last lines of its stderr. */
export async function runOk(runner: Run, file: string, args: readonly string[], options?: RunOptions): Promise<Buffer> {
  const result = await runner(file, args, options);
  if (result.exitCode !== 0) {
    const tail = result.stderr.trimEnd().split('\n').slice(-12).join('\n');
    throw new EdgeError('tool-failed', `${file} ended with ${result.exitCode}: ${tail}`, {
      details: { file, args: [...args], exitCode: result.exitCode },
    });
  }
  return result.stdout;
}
