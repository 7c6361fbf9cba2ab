/** Resource limits of a child and of each process it starts (setrlimit(2)): for tools that read what others made. */
export interface RunLimits {
  /** Bytes of address space of one process. */
  readonly memory?: number;
  /** Bytes of one written file. */
  readonly fileSize?: number;
  /** Seconds of processor time of one process. */
  readonly cpuSeconds?: number;
  /** Processes of this user, or of the user namespace that the child is in. Does not hold for root. */
  readonly processes?: number;
}

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
  /**
   * Breaking one of processor time or file size is `tool-limit`; without memory a tool fails by itself. Default none.
   */
  readonly limits?: RunLimits;
  readonly signal?: AbortSignal;
  /** Gets the process number of the child as soon as there is one. */
  readonly started?: (pid: number) => void;
}

export interface RunResult {
  /** Exit code; 128 + n where the child died of signal n. */
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program to its end. Resolves whatever the exit code; rejects only when it could not run or broke a limit. */
export type Run = (file: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;
