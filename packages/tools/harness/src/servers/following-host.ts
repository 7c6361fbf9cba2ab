import assert from 'node:assert/strict';
import { join } from 'node:path';
import { chosenSerial } from '@kmend/protocol';
import { cacheFetch, openRepositoryClient } from '@kmend/trust';
import { BUILD_ID } from './livepatch.ts';

/** A host as the agent is one: what fetches, and what loads from the fetcher's cache and verifies all of it again. */
export interface FollowingHost {
  /** Checks with both halves; the serial that policy wants, fetched and verified by both. */
  follow(url: string): Promise<number | null>;
  /** The check of the half that fetches, alone. */
  check(url: string): Promise<void>;
  /** Serials that policy withdraws. */
  withdrawn(url: string): Promise<number[]>;
}

const { signal } = new AbortController();

/** `anchor`: the root that the host was enrolled with; everything it keeps goes below `directory`. */
export function followingHost(anchor: string, directory: string): FollowingHost {
  const open = (url: string) =>
    openRepositoryClient({ directory: join(directory, 'fetcher'), root: anchor, url: `${url}/repository` });
  const openLoader = () =>
    openRepositoryClient({
      directory: join(directory, 'loader'),
      root: anchor,
      url: 'cache:///',
      fetch: cacheFetch(join(directory, 'fetcher')),
      rootIntervalMs: 0,
    });
  return {
    async check(url) {
      await (await open(url)).check(signal);
    },
    async withdrawn(url) {
      const policy = await (await open(url)).kernelPolicy(BUILD_ID, signal);
      return (policy?.withdrawn ?? []).map(({ serial }) => serial);
    },
    async follow(url) {
      const [fetcher, loader] = [await open(url), await openLoader()];
      let wanted: number | null = null;
      for (const client of [fetcher, loader]) {
        await client.check(signal);
        await client.fleetPolicy(signal);
        const policy = await client.kernelPolicy(BUILD_ID, signal);
        const serial = policy === undefined ? null : chosenSerial(policy, 'stable', 'host-1');
        if (serial !== null) await client.fetchLivepatch(BUILD_ID, serial, signal);
        if (client === loader) assert.equal(serial, wanted);
        wanted = serial;
      }
      if (wanted !== null) await loader.verifyCached(BUILD_ID, wanted);
      return wanted;
    },
  };
}
