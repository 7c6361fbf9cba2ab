import { chosenSerial } from '@kmend/protocol';
import { readObserved } from '../observed/observed.ts';
import { openAhead } from '../observed/pending.ts';
import { fetchLivepatch } from './check.ts';
import { channelOf, type Fetcher } from './context.ts';

/**
 * Fetches, after a check, what the policy asks for on the kernel that a reboot would bring: that boot then needs no
 * network to be protected. Where the repository does not cover that kernel (yet) nothing is held.
 */
export async function fetchAhead(fetcher: Fetcher, signal: AbortSignal): Promise<void> {
  const { edges, repository, identity } = fetcher;
  const buildId = (await readObserved(edges)).pending?.buildId ?? null;
  const ahead = await openAhead(edges);
  if (buildId === null) {
    if (ahead.value.buildId !== null) await ahead.save({ ...ahead.value, buildId: null, serial: null });
    return;
  }
  const policy = await repository.kernelPolicy(buildId, signal);
  const serial = policy === undefined ? null : chosenSerial(policy, channelOf(fetcher), identity.hostId);
  if (ahead.value.buildId === buildId && ahead.value.serial === serial) return;
  const held = serial !== null && (await fetchLivepatch({ ...fetcher, buildId }, serial, signal)) ? serial : null;
  await ahead.save({ ...ahead.value, buildId, serial: held });
  if (held !== null)
    fetcher.log('info', 'fetched ahead, for the kernel that a reboot brings', { buildId, serial: held });
}
