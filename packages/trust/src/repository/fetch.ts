import type { Clock } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { readAll } from '../client/fetcher.ts';
import { statusFailure } from '../client/status.ts';
import { defaultLimits, type Fetch, get } from '../client/transfer.ts';
import { TrustError } from '../error.ts';
import type { SigningKey } from '../keys/key.ts';
import { tufKey } from './create.ts';
import { loadState, type RepositoryReader, type RepositoryState } from './state.ts';

export interface FetchStateOptions {
  /** Base URL of the repository: what holds `metadata/` and `targets/`. */
  readonly url: string;
  /** The operator's own release key: the state must be signed with it, whatever root the server shows. */
  readonly releaseKey: SigningKey;
  readonly signal: AbortSignal;
  readonly fetch?: Fetch;
  readonly clock?: Clock;
}

/** Bytes of any one metadata file. */
const MAX_METADATA = 5_000_000;

/**
 * The operator's view of a repository before signing. Trust comes from the operator's own key, not from the server:
 * targets must carry the release key's signature (`key-wrong` otherwise).
 */
export async function fetchState(options: FetchStateOptions): Promise<RepositoryState> {
  const edges = {
    fetch: options.fetch ?? globalThis.fetch,
    clock: options.clock ?? systemClock,
    limits: defaultLimits,
  };
  const base = options.url.replace(/\/+$/, '');
  const read: RepositoryReader = async (name) => {
    // Encoded once on disk, once more in the address.
    const url = `${base}/${name.split('/').map(encodeURIComponent).join('/')}`;
    const answer = await get(edges, url, MAX_METADATA, options.signal);
    if (answer.status === 200) return readAll(answer);
    await answer.discard();
    if (answer.status === 404) return undefined;
    throw statusFailure(url, answer.status);
  };
  const state = await loadState(read, 'repository-garbage');
  const { releaseKey } = options;
  try {
    if (!state.root.signed.roles['targets']?.keyIDs.includes(releaseKey.id)) throw new Error('not named by root');
    tufKey(releaseKey.id, releaseKey.public).verifySignature(state.targets);
  } catch (cause) {
    throw new TrustError('key-wrong', `the repository at ${base} is not signed with the release key at hand`, {
      cause,
      hint: 'use the key that was made with this repository, and check the server’s address',
    });
  }
  return state;
}
