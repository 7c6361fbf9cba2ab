/** Process spawning as an edge. Every tool run has a limit on time and on output; arguments never carry secrets. */
export interface RunOptions {
  readonly cwd?: string;
  /** The whole environment of the child; absent means a small fixed one (PATH, HOME, LANG=C.UTF-8, TMPDIR). */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
  /** Milliseconds until the child's process group is killed. Default 10 minutes. */
  readonly timeoutMs?: number;
  /** Bytes kept of each of stdout and stderr; more is an error (`output-too-large`). Default 64 MiB. */
  readonly maxOutput?: number;
  readonly signal?: AbortSignal;
}

export interface RunResult {
  /** Exit code; 128 + n where the child died of signal n. */
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program to its end. Resolves whatever the exit code; rejects only when it could not run or broke a limit. */
export type Run = (file: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;
