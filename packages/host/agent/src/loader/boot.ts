import { errorText } from '@kmend/base';
import { journalCode } from '../codes.ts';
import { pstoreNames } from '../kernel/facts.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { switchedOff } from '../kernel/switch.ts';
import { holdInForce, lastGood, withEvent } from '../state/journal.ts';
import { reconcile } from '../state/reconcile.ts';
import { commit, type Loader } from './context.ts';
import { loadCached } from './load.ts';
import { lookAtPackages } from './packages.ts';

/** Brings the journal in line with this boot. True where a livepatch was quarantined because the host crashed with it. */
export async function reconcileBoot(loader: Loader): Promise<boolean> {
  const kernel = await readKernelView(loader.edges);
  const pstore = await pstoreNames(loader.edges);
  let crash = false;
  await commit(loader, (journal, now) => {
    const found = reconcile(journal, { bootId: loader.bootId, kernel, pstore, now });
    crash = found.crash;
    return found.journal;
  });
  return crash;
}

export type BootOutcome = 'switched-off' | 'nothing-good' | 'held' | 'loaded-already' | 'loading' | 'packages-drive';

export interface Booted {
  readonly outcome: BootOutcome;
  /** A livepatch was quarantined because the host went down with it. */
  readonly crashed: boolean;
}

/**
 * Early in a boot: re-applies the last good livepatch of this exact kernel from the loader's own verified cache. No network.
 * After a crash, or where one cannot be loaded, that is the one before it.
 */
export async function boot(loader: Loader): Promise<Booted> {
  const crashed = await reconcileBoot(loader);
  const off = await switchedOff(loader.edges);
  if (off !== undefined) {
    loader.log('warn', 'nothing is loaded in this boot', { because: off });
    return { outcome: 'switched-off', crashed };
  }
  const { journal } = loader.store;
  if (journal.current !== null) return { outcome: 'loaded-already', crashed };
  if ((await lookAtPackages(loader)).drive) return { outcome: 'packages-drive', crashed };
  const hold = holdInForce(journal, loader.buildId, loader.edges.clock.now().getTime());
  const out = hold?.kind === 'out' ? hold : null;
  const allowed = (serial: number): boolean =>
    out === null || (out.untilNewerThan !== null && serial > out.untilNewerThan);
  const tried = new Set<number>();
  for (let failure: unknown; ; ) {
    const last = lastGood(loader.store.journal, loader.buildId, (serial) => allowed(serial) && !tried.has(serial));
    if (last === undefined) {
      if (failure !== undefined) throw failure;
      return { outcome: out === null ? 'nothing-good' : 'held', crashed };
    }
    tried.add(last.serial);
    try {
      await loadCached(loader, last.serial, 'boot');
      return { outcome: 'loading', crashed };
    } catch (error) {
      failure = error;
      await noteFailure(loader, error, last.serial);
    }
  }
}

async function noteFailure(loader: Loader, error: unknown, serial: number): Promise<void> {
  const code = journalCode(error);
  loader.log('warn', 'not re-applied at boot', { code, serial, error: errorText(error) });
  await commit(loader, (journal, now) => withEvent(journal, { at: now.at, code, message: errorText(error), serial }));
}
