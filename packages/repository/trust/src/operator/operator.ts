import type { Clock } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import type { Metadata, Targets } from '@tufjs/models';
import { readAll } from '../client/fetcher.ts';
import { statusFailure } from '../client/status.ts';
import { METADATA_MAX_LENGTH, ROOT_MAX_LENGTH } from '../client/transaction.ts';
import { defaultLimits, type Fetch, get } from '../client/transfer.ts';
import { TrustError } from '../error.ts';
import { loadAnchor } from '../keys/anchor.ts';
import type { SigningKey } from '../keys/key.ts';
import { findNamedKey, loadNamedKey } from '../keys/next.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { tufKey } from '../repository/create.ts';
import { loadState, type RepositoryReader, type RepositoryState } from '../repository/state.ts';
import { loadRecord, notePublished, noteRole, saveRecord } from './record.ts';

export interface OperatorOptions {
  /** The operator's own directory: release key, pinned root, record. */
  readonly directory: string;
  /** Where the root key is, if not there too: a medium that is brought for it. */
  readonly rootDirectory?: string;
  /** Base URL of the repository: what holds `metadata/` and `targets/`. */
  readonly url: string;
  readonly signal: AbortSignal;
  readonly fetch?: Fetch;
  readonly clock?: Clock;
}

/**
 * A repository as its operator sees it before signing: verified from what lies beside the keys, not from what the
 * server says.
 */
export interface Operator {
  readonly state: RepositoryState;
  readonly clock: Clock;
  readonly directory: string;
  readonly rootDirectory: string;
  /** Version of the pinned root. */
  readonly anchorVersion: number;
  /** The release key that the root names. Throws `keys-missing`, `key-wrong`. */
  releaseKey(): Promise<SigningKey>;
  /** The same; `undefined` where there is no file of it. */
  findReleaseKey(): Promise<SigningKey | undefined>;
  rootKey(): Promise<SigningKey>;
  /** Whether a livepatch was signed on this machine, by the SHA-256 of its module. */
  isOwn(buildId: string, serial: number, module: string): boolean;
  /** Notes what was seen and, once the server took it, what was signed here: from then on it can show nothing older. */
  save(signed?: SignedHere): Promise<void>;
}

export interface SignedHere {
  /** Metadata files, as text by role name. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly livepatch?: { readonly buildId: string; readonly serial: number; readonly module: string };
}

/** Milliseconds for all roots together. A chain of years has a dozen, each of which comes in a fraction of a second. */
const ROOTS_MS = 15_000;

/**
 * Fetches and verifies a repository's metadata for its operator: along the chain from the pinned root (at most 256
 * more, in a bounded time), and never older than what this machine has seen. Throws `anchor-missing`, `key-wrong`,
 * `repository-unsigned`, `repository-garbage`, `repository-rollback`, `repository-slow`, `repository-too-large`,
 * `record-damaged`.
 */
export async function openOperator(options: OperatorOptions): Promise<Operator> {
  const { directory, rootDirectory = directory, clock = systemClock } = options;
  const anchor = await loadAnchor(directory);
  const record = await loadRecord(directory);
  const read = boundedReader(options, clock);
  const loaded = await loadState(read, anchor, 'repository-garbage', 'repository-unsigned').catch((error: unknown) => {
    throw isOfOthers(error) ? notTheirs(options.url, error) : error;
  });
  noteRole(record, 'root', loaded.root);
  noteRole(record, 'targets', loaded.targets);
  const state: RepositoryState = {
    ...loaded,
    async role(name) {
      const role = await loaded.role(name);
      if (role !== undefined && isRecorded(name)) noteRole(record, name, role);
      return role;
    },
  };
  const named = (role: string) => state.root.signed.roles[role]?.keyIDs;
  return {
    state,
    clock,
    directory,
    rootDirectory,
    anchorVersion: anchor.metadata.signed.version,
    async releaseKey() {
      const key = await loadNamedKey(directory, 'release', named('targets'));
      requireOwn(key, 'targets', state.targets);
      return key;
    },
    findReleaseKey: () => findNamedKey(directory, 'release', named('targets')),
    rootKey: () => loadNamedKey(rootDirectory, 'root', named('root')),
    isOwn: (buildId, serial, module) => record.published[buildId]?.[String(serial)] === module,
    async save({ metadata = {}, livepatch }: Partial<SignedHere> = {}) {
      for (const [name, text] of Object.entries(metadata)) {
        noteRole(record, name, parseMetadata(name === 'root' ? 'root' : 'targets', text, name, 'repository-garbage'));
      }
      if (livepatch !== undefined) notePublished(record, livepatch);
      await saveRecord(directory, record);
    },
  };
}

/** The chain of roots held, and what it leads to is signed by others. */
function isOfOthers(error: unknown): error is TrustError {
  return error instanceof TrustError && error.code === 'repository-unsigned' && error.details?.['role'] !== undefined;
}

function notTheirs(url: string, cause: TrustError): TrustError {
  return new TrustError(
    'key-wrong',
    `the repository at ${url} is not the one these keys were made with: ${cause.message}`,
    {
      cause,
      hint: 'nothing was signed; check the server’s address, the folder of the keys, and whether another server answers',
    },
  );
}

/** Roles that the operator signs. */
function isRecorded(name: string): boolean {
  return name.startsWith('kernel-');
}

/** Nothing is built upon what the operator's own key has not signed. */
export function requireOwn(key: SigningKey, name: string, metadata: Metadata<Targets>): void {
  try {
    tufKey(key.id, key.public).verifySignature(metadata);
  } catch (cause) {
    throw new TrustError('key-wrong', `${name} ${metadata.signed.version} is not signed with the key at hand`, {
      cause,
      hint: 'another key signed it: rotate to one that you hold (docs/trust.md), and check what was published',
    });
  }
}

function boundedReader({ url, signal, fetch = globalThis.fetch }: OperatorOptions, clock: Clock): RepositoryReader {
  const base = url.replace(/\/+$/, '');
  const started = clock.monotonic();
  return async (name) => {
    // Encoded once on disk, once more in the address.
    const address = `${base}/${name.split('/').map(encodeURIComponent).join('/')}`;
    const isRoot = name.endsWith('.root.json');
    const left = isRoot ? started + ROOTS_MS - clock.monotonic() : Number.POSITIVE_INFINITY;
    if (left <= 0) throw slowRoots();
    const { headersMs, stallMs } = defaultLimits;
    const limits = { ...defaultLimits, headersMs: Math.min(headersMs, left), stallMs: Math.min(stallMs, left) };
    const length = isRoot ? ROOT_MAX_LENGTH : METADATA_MAX_LENGTH;
    const answer = await get({ fetch, clock, limits }, address, length, signal);
    if (answer.status === 200) return await readAll(answer);
    await answer.discard();
    if (answer.status === 404) return undefined;
    throw statusFailure(address, answer.status);
  };
}

function slowRoots(): TrustError {
  return new TrustError('repository-slow', `the roots did not all come within ${ROOTS_MS / 1000} seconds`, {
    hint: 'a server that answers this slowly is broken or hostile',
  });
}
