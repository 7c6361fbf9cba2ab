import type { Clock, Run } from '@kmend/base';

/**
 * Files as the agent's rules see them. Paths are absolute paths of the host; tests root them in a directory of their
 * own. Reads are bounded: more than `limit` bytes is an error. What is in the fetcher's directories is not trusted:
 * only regular files, no link followed, nothing waited for; anything else is refused with `repository-garbage`.
 */
export interface Files {
  /** Content as text; `undefined` where the file is not there (ENOENT, ENOTDIR, or a process gone: ESRCH). */
  text(path: string, limit?: number): Promise<string | undefined>;
  /** Content as bytes; `undefined` where the file is not there. */
  bytes(path: string, limit?: number): Promise<Buffer | undefined>;
  /** Names in a directory, sorted; `undefined` where it is not there. */
  names(path: string): Promise<readonly string[] | undefined>;
  isDirectory(path: string): Promise<boolean>;
  exists(path: string): Promise<boolean>;
  /** Where a symbolic link leads; `undefined` where there is none, or it may not be read. */
  link(path: string): Promise<string | undefined>;
  /**
   * Two paths with the same identity are one file or directory; `undefined` where it is not there, or may not be looked
   * at.
   */
  identity(path: string): Promise<string | undefined>;
  /** Size and time of a file, as a word; `undefined` where it is not there. */
  stamp(path: string): Promise<string | undefined>;
  /** When a file was last written; `undefined` where it is not there. */
  modified(path: string): Promise<Date | undefined>;
  /** One write(2) into an existing file, for sysfs attributes. */
  poke(path: string, value: string): Promise<void>;
  /** Whole or not at all, fsynced, with its directory. */
  writeAtomic(path: string, data: string | Uint8Array, mode: number): Promise<void>;
  /** Creates a new file that only its owner may read; fails where the path exists. */
  writePrivate(path: string, data: Uint8Array): Promise<void>;
  /**
   * Creates a directory with its parents and this mode; one that is there is left as it is (the package makes those of
   * a host).
   */
  directory(path: string, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Path that a program started by `run` must be given for this host path. */
  real(path: string): string;
}

/**
 * Everything that the agent's rules do to the world: `config`, `decide`, `fetcher`, `kernel`, `loader`, `seen` and
 * `state`. A lint rule holds them to it. Beside it only these know the runtime: `service` (its sockets and locks),
 * `cli` (files that a person names), the small program of the idle check (`fetcher/idle.ts`: it starts at every check),
 * and the stream of a kernel image through its decompressor (`kernel/image.ts`).
 */
export interface Edges {
  readonly clock: Clock;
  /** Even in [0, 1). */
  random(): number;
  readonly files: Files;
  readonly run: Run;
  readonly fetch: typeof fetch;
  /** What the runtime knows of the machine without reading files. */
  readonly machine: {
    hostname(): string;
    arch(): string;
    release(): string;
    version(): string;
    /** Name of the host's time zone, as in the IANA database. */
    timeZone(): string;
  };
}
