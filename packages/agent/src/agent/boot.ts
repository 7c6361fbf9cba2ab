import { errorCode, errorText } from '@kmend/base';
import { pstoreNames } from '../kernel/facts.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { withEvent } from '../state/journal.ts';
import { reconcile } from '../state/reconcile.ts';
import { type Agent, commit } from './context.ts';
import { loadCached } from './load.ts';

/** Brings the journal in line with this boot. True where a livepatch was quarantined because the host crashed with it. */
export async function reconcileBoot(agent: Agent): Promise<boolean> {
  const kernel = await readKernelView(agent.edges);
  const pstore = await pstoreNames(agent.edges);
  let crash = false;
  await commit(agent, (journal, now) => {
    const found = reconcile(journal, { bootId: agent.bootId, kernel, pstore, now });
    crash = found.crash;
    return found.journal;
  });
  return crash;
}

export type BootOutcome = 'crashed' | 'nothing-good' | 'held' | 'loaded-already' | 'loading';

/**
 * Early in a boot: re-applies the last good livepatch of this exact kernel from the verified cache. No network. After a
 * crash nothing is loaded in this boot by this way; the next check decides by the signed policy.
 */
export async function boot(agent: Agent): Promise<BootOutcome> {
  if (await reconcileBoot(agent)) return 'crashed';
  const { current, good, hold } = agent.store.journal;
  if (current !== null) return 'loaded-already';
  const last = good.find((it) => it.buildId === agent.buildId);
  if (last === undefined) return 'nothing-good';
  if (hold?.buildId === agent.buildId && (hold.untilNewerThan === null || last.serial <= hold.untilNewerThan))
    return 'held';
  try {
    await loadCached(agent, last.serial, 'boot');
  } catch (error) {
    await commit(agent, (journal, now) => {
      const code = errorCode(error) ?? 'internal';
      return withEvent(journal, { at: now.at, code, message: errorText(error).slice(0, 2000), serial: last.serial });
    });
    throw error;
  }
  return 'loading';
}
