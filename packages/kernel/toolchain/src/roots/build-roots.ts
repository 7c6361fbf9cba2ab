import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { runOk, syncDirectory, withLock } from '@kmend/base/node';
import type { BuildRoot } from './build-root.ts';
import { installRoot } from './make.ts';
import type { SystemSource } from './mmdebstrap.ts';
import { extentOf, type RootRecord, readRecord, recordOf, recordPath, systemPath } from './record.ts';
import { rootName, type WantedRoot } from './wanted.ts';

/** A root on the disk. */
export interface KnownRoot {
  readonly name: string;
  readonly directory: string;
  /** Bytes that it takes now. */
  readonly bytes: number;
  /** Absent for one that was not made to its end. */
  readonly root?: BuildRoot;
  /** Files are missing, or others were added, since it was made. */
  readonly isDamaged: boolean;
}

/** The build roots of this machine: one folder for each suite and compiler, made once, whole or not at all. */
export class BuildRoots {
  readonly #edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly #directory: string;
  readonly #source: SystemSource;

  /** `cacheDirectory`: the folder `roots` in it is theirs. `source`: of the packages. */
  constructor(edges: Pick<Edges, 'run' | 'progress' | 'signal'>, cacheDirectory: string, source: SystemSource = {}) {
    this.#edges = edges;
    this.#directory = rootsIn(cacheDirectory);
    this.#source = source;
  }

  /** The root, if it was made to its end. */
  async find(wanted: WantedRoot): Promise<BuildRoot | undefined> {
    const directory = join(this.#directory, rootName(wanted));
    const record = await readRecord(directory);
    return record === undefined ? undefined : asRoot(directory, record);
  }

  /**
   * The root, made where there is none or only part of one. Callers at the same time, in any process, wait for one of
   * them. Throws `compiler-unavailable` and `root-failed`.
   */
  async prepare(wanted: WantedRoot): Promise<BuildRoot> {
    const name = rootName(wanted);
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which makes this build root`);
    return await withLock(join(this.#directory, `.${name}.lock`), () => this.#prepare(wanted, name), {
      signal,
      onWait,
    });
  }

  /** All roots, whole and other, by name; each is looked through. */
  async list(): Promise<readonly KnownRoot[]> {
    const known: KnownRoot[] = [];
    for (const name of await namesIn(this.#directory)) {
      const directory = join(this.#directory, name);
      const record = await readRecord(directory);
      const bytes = extentOf(directory).bytes;
      if (record === undefined) known.push({ name, directory, bytes, isDamaged: true });
      else
        known.push({ name, directory, bytes, root: asRoot(directory, record), isDamaged: !isWhole(directory, record) });
    }
    return known;
  }

  async #prepare(wanted: WantedRoot, name: string): Promise<BuildRoot> {
    const directory = join(this.#directory, name);
    const known = await readRecord(directory);
    if (known !== undefined && isWhole(directory, known)) return asRoot(directory, known);
    const { run, progress, signal } = this.#edges;
    const { suite, compiler } = wanted;
    progress.step(`make the build root of ${suite} with ${compiler.name} ${compiler.version}`);
    // Under the lock of this name: what lies there is from a killed run.
    const temporary = join(this.#directory, `.${name}.tmp`);
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    try {
      await installRoot(this.#edges, wanted, temporary, this.#source);
      const record = await recordOf(suite, temporary);
      await runOk(run, 'sync', ['--file-system', temporary], { signal });
      await writeFile(recordPath(temporary), `${JSON.stringify(record, null, 2)}\n`);
      await rm(directory, { recursive: true, force: true });
      await rename(temporary, directory);
      await syncDirectory(this.#directory);
      return asRoot(directory, record);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
}

/** A root of a cache by the digest of its contents. */
export async function rootOfDigest(cacheDirectory: string, digest: string): Promise<BuildRoot | undefined> {
  const roots = rootsIn(cacheDirectory);
  for (const name of await namesIn(roots)) {
    const record = await readRecord(join(roots, name));
    if (record?.digest === digest) return asRoot(join(roots, name), record);
  }
  return undefined;
}

function rootsIn(cacheDirectory: string): string {
  return join(cacheDirectory, 'roots');
}

async function namesIn(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => [] as string[]);
  return names.filter((name) => !name.startsWith('.')).sort();
}

function asRoot(directory: string, { suite, digest, packages }: RootRecord): BuildRoot {
  return { directory: systemPath(directory), contents: { suite, digest, packages } };
}

function isWhole(directory: string, record: RootRecord): boolean {
  const { files, bytes } = extentOf(systemPath(directory));
  return files === record.files && bytes === record.bytes;
}
