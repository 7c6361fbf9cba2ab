import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readObserved } from '../observed/observed.ts';
import { pendingOf } from '../observed/pending.ts';
import { makeFetcher, makeHost, never } from '../testing/host.ts';
import { fetchAhead } from './ahead.ts';
import { whatToTell } from './report.ts';

test('fetches the livepatch of the pending kernel once, and reports it', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const fetcher = await makeFetcher(host);
  const { observed } = host.loader;
  const { buildId } = fetcher;
  // The policy is the same one for whatever kernel is asked for.
  const pending = { release: '6.1.0-48-amd64', buildId, file: '1:1' };
  await observed.save({ ...observed.value, pending });
  const held = async (): Promise<unknown> =>
    (await pendingOf(fetcher.edges, await readObserved(fetcher.edges)))?.serial;
  assert.equal(await held(), null);
  let fetched = 0;
  const repository = {
    ...fetcher.repository,
    kernelPolicy: () => host.repository.kernelPolicy(),
    fetchLivepatch: async (...args: Parameters<typeof host.repository.fetchLivepatch>) => {
      fetched += 1;
      return host.repository.fetchLivepatch(...args);
    },
  };
  for (const _ of [1, 2]) await fetchAhead({ ...fetcher, repository }, never);
  assert.deepEqual([fetched, await held()], [1, 1]);
  const { pendingKernel } = (await whatToTell(fetcher)).content.facts;
  assert.deepEqual(pendingKernel, { release: '6.1.0-48-amd64', buildId, serial: 1 });
  // Another kernel again: nothing is held for that one.
  await observed.save({ ...observed.value, pending: { ...pending, buildId: 'cd'.repeat(20) } });
  assert.equal(await held(), null);
  await observed.save({ ...observed.value, pending: null });
  await fetchAhead({ ...fetcher, repository }, never);
  assert.equal((await whatToTell(fetcher)).content.facts.pendingKernel, null);
});
