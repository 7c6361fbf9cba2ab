import { AgentError } from '../error.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { errorData } from '../log.ts';
import { readPackages, takeHost, yieldHost } from '../stack/program.ts';
import { endConsolidation } from '../state/consolidation.ts';
import { commit, type Loader } from './context.ts';
import { lookAtPackages } from './packages.ts';

/** How soon what could not be settled is tried again, in milliseconds. */
const AGAIN_MS = 30_000;

/**
 * Brings a consolidation to its end where it has come to one: for good once the livepatch came through its soak, back
 * to the packages where it is not there, or went. Returns after how many milliseconds to try again where that did not
 * work; `undefined`: there is nothing to do (now).
 */
export async function finishConsolidation(loader: Loader): Promise<number | undefined> {
  const { consolidation, current } = loader.store.journal;
  if (consolidation === null) return undefined;
  const isGood = current?.phase === 'good';
  if (!isGood && current !== null && current.phase !== 'failed') return undefined;
  try {
    await (isGood ? keepForGood(loader) : giveBack(loader));
    await lookAtPackages(loader);
    return undefined;
  } catch (error) {
    loader.log('warn', 'cannot end the consolidation yet', errorData(error));
    // Should this life leave before: the fetcher has the next one look.
    const wakeAt = new Date(loader.edges.clock.now().getTime() + AGAIN_MS).toISOString();
    await loader.observed.save({ ...loader.observed.value, wakeAt });
    return AGAIN_MS;
  }
}

/**
 * The livepatch is in the journal as a good one, durably, before the packages yield over boots: so one of the two loads
 * at the next.
 */
async function keepForGood(loader: Loader): Promise<void> {
  const { edges, store } = loader;
  // Without their loader nothing loads them, in this boot or another.
  if ((await readPackages(edges)) !== undefined) await yieldHost(edges, 'for good');
  const modules = store.journal.consolidation?.modules.length ?? 0;
  const message = `${modules} livepatches of packages are replaced; the agent drives this host`;
  await commit(loader, (journal, moment) => endConsolidation(journal, moment, 'consolidated', message));
}

async function giveBack(loader: Loader): Promise<void> {
  const { edges, store } = loader;
  const mine = store.journal.current?.module;
  const { livepatches } = await readKernelView(edges);
  const trouble = await takeHost(edges, livepatches.some((it) => it.name === mine && it.enabled) ? mine : undefined);
  const after = await readPackages(edges);
  // Trouble of their own is theirs to tell, and to try again; not to have taken over is not.
  if (after?.yielded === true) {
    throw new AgentError('packages-failed', `the packages did not take over: ${trouble ?? 'they still yield'}`, {
      hint: 'kmend-livepatch take',
    });
  }
  const message =
    after === undefined
      ? 'kmend-livepatch is not installed any more: the agent drives this host'
      : `the packages drive this host again${trouble === undefined ? '' : `, with trouble: ${trouble}`}`;
  await commit(loader, (journal, moment) => endConsolidation(journal, moment, 'consolidation-ended', message));
}
