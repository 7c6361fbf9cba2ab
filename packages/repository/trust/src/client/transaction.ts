import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diskFault } from '@kmend/base';
import { withLock } from '@kmend/base/node';
import { Updater } from 'tuf-js';
import { diskError } from '../error.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import type { CheckRecord, MetadataCache } from './cache.ts';
import { followRoots, rootFile, type TrustedRoot } from './chain.ts';
import { updateFailure } from './failure.ts';
import { RepositoryFetcher } from './fetcher.ts';
import { PartialDownloads } from './partial.ts';
import type { TransferEdges } from './transfer.ts';

/** Bytes and counts a repository may not exceed, as the specification's clients set them. */
const LIMITS = {
  maxRootRotations: 256,
  maxDelegations: 32,
  rootMaxLength: 512_000,
  timestampMaxLength: 16_384,
  snapshotMaxLength: 2_000_000,
  targetsMaxLength: 5_000_000,
} as const;
export const TIMESTAMP_MAX_LENGTH = LIMITS.timestampMaxLength;
export const ROOT_MAX_LENGTH = LIMITS.rootMaxLength;
/** No metadata file is longer. */
export const METADATA_MAX_LENGTH = LIMITS.targetsMaxLength;

/** Base addresses of a repository's two kinds of files. */
export interface Location {
  readonly metadata: string;
  readonly targets: string;
}

/** Where the files of a repository at a base URL without a slash at its end are. */
export function locationOf(url: string): Location {
  return { metadata: `${url}/metadata`, targets: `${url}/targets` };
}

export interface TransactionEnvironment {
  readonly cache: MetadataCache;
  readonly anchor: TrustedRoot;
  readonly location: Location;
  readonly edges: TransferEdges;
}

/** What work gets: tuf-js on a private copy of the cached metadata. */
export interface Session {
  readonly updater: Updater;
  readonly fetcher: RepositoryFetcher;
  /** Generation the copy was made of. */
  readonly generation: string | undefined;
  /** Reads a metadata file as tuf-js left it. */
  read(file: string): Promise<Buffer | undefined>;
}

export interface TransactionOptions {
  /**
   * `cache`: cached metadata counts while it is valid; `network`: begin with root and timestamp from the repository.
   */
  readonly from: 'cache' | 'network';
  readonly offline?: boolean;
  readonly signal: AbortSignal;
}

export interface Committed<T> {
  readonly result: T;
  readonly generation: string | undefined;
}

/** Longest wait for another process's update, in milliseconds. */
const LOCK_TIMEOUT_MS = 120_000;

/**
 * Runs work on a copy of the cached metadata, under the lock, and swaps the copy in where it changed. tuf-js persists
 * only what it has verified, so also after a failure the copy is kept (specification 1.0.34, sections 5.3.8, 5.4.5: a
 * newer root or timestamp, once seen, stays seen), except after a full disk, which may have torn a file.
 */
export async function transaction<T>(
  environment: TransactionEnvironment,
  options: TransactionOptions,
  work: (session: Session) => Promise<{ readonly result: T; readonly check?: CheckRecord }>,
): Promise<Committed<T>> {
  const { cache } = environment;
  try {
    await mkdir(cache.directory, { recursive: true, mode: 0o700 });
    return await withLock(cache.lock, () => run(environment, options, work), {
      signal: options.signal,
      timeoutMs: LOCK_TIMEOUT_MS,
    });
  } catch (error) {
    throw diskError(error, cache.directory, 'nothing was changed');
  }
}

async function run<T>(
  environment: TransactionEnvironment,
  options: TransactionOptions,
  work: (session: Session) => Promise<{ readonly result: T; readonly check?: CheckRecord }>,
): Promise<Committed<T>> {
  const { cache, anchor, edges, location } = environment;
  await cache.sweep();
  const partials = new PartialDownloads(cache.partials);
  await partials.sweep(edges.clock.now());
  const generation = await cache.current();
  const directory = await cache.work(generation);
  try {
    const read = (file: string) => readFile(join(directory, file)).catch(() => undefined);
    const root = await followRoots(anchor, read);
    await writeFile(join(directory, 'root.json'), root.bytes);
    const fetcher = new RepositoryFetcher(edges, partials, location.targets);
    fetcher.signal = options.signal;
    fetcher.offline = options.offline === true;
    const updater = new Updater({
      metadataDir: directory,
      metadataBaseUrl: location.metadata,
      targetDir: cache.targets,
      targetBaseUrl: location.targets,
      fetcher,
      forceCache: options.from === 'cache',
      config: LIMITS,
    });

    let outcome: { readonly result: T; readonly check?: CheckRecord };
    try {
      outcome = await work({ updater, fetcher, generation, read });
    } catch (error) {
      options.signal.throwIfAborted();
      const failure = updateFailure(fetcher.failure ?? error, cache.directory);
      if (diskFault(error) === undefined && !fetcher.offline)
        await keep(environment, directory, generation, fetcher, undefined);
      throw failure;
    }
    return {
      result: outcome.result,
      generation: await keep(environment, directory, generation, fetcher, outcome.check),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function keep(
  { cache }: TransactionEnvironment,
  directory: string,
  generation: string | undefined,
  fetcher: RepositoryFetcher,
  check: CheckRecord | undefined,
): Promise<string | undefined> {
  const root = await readFile(join(directory, 'root.json'));
  const { version } = parseMetadata('root', root, 'root.json', 'cache-mismatch').signed;
  for (const [candidate, bytes] of fetcher.roots) {
    // Those up to the version that tuf-js ended with were verified one by one.
    if (candidate <= version) await writeFile(join(directory, rootFile(candidate)), bytes);
  }
  if (check === undefined && !(await cache.differs(directory, generation))) return generation;
  // An ETag counts only while timestamp.json is still the one it was given for.
  return cache.commit(directory, check ?? (await sameTimestamp(cache, directory, generation)));
}

async function sameTimestamp(
  cache: MetadataCache,
  directory: string,
  generation: string | undefined,
): Promise<CheckRecord | undefined> {
  if (generation === undefined) return undefined;
  const [ours, theirs] = [
    await readFile(join(directory, 'timestamp.json')).catch(() => undefined),
    await cache.read(generation, 'timestamp.json'),
  ];
  return ours !== undefined && theirs?.equals(ours) === true ? cache.readCheck(generation) : undefined;
}
