import type { KernelView } from '../kernel/livepatch.ts';
import { endConsolidation } from './consolidation.ts';
import type { Journal } from './journal.ts';
import * as machine from './machine.ts';

export interface Observed {
  readonly bootId: string;
  readonly kernel: KernelView;
  /** Names in /sys/fs/pstore. */
  readonly pstore: readonly string[];
  readonly now: machine.Moment;
}

/** Of a load that the kernel shows nothing of. */
export const BROKEN_OFF = 'the attempt was broken off';

/**
 * Brings the journal in line with what the kernel shows when the agent starts, at boot or in mid-boot. Returns the same
 * journal where there is nothing to say. `crash` is set where a livepatch was quarantined for one.
 */
export function reconcile(journal: Journal, observed: Observed): { journal: Journal; crash: boolean } {
  const { now, kernel, bootId } = observed;
  const { consolidation } = journal;
  if (consolidation !== null && consolidation.bootId !== bootId) {
    const ended = endConsolidation(journal, now, 'consolidation-ended', 'the host was booted before it was done');
    return reconcile(ended, observed);
  }
  const attempt = journal.current;
  if (attempt === null) return { journal, crash: false };
  if (attempt.bootId !== observed.bootId) {
    const survived = attempt.phase === 'good' || attempt.phase === 'failed' || attempt.cleanShutdown;
    if (survived) return { journal: machine.rebooted(journal, now), crash: false };
    if (machine.isTrusted(journal, attempt)) return { journal: machine.cutOff(journal, now), crash: false };
    return { journal: machine.crashed(journal, now, observed.pstore), crash: true };
  }
  // The same boot: a shutdown that was announced did not come.
  const alive = attempt.cleanShutdown ? { ...journal, current: { ...attempt, cleanShutdown: false } } : journal;
  if (attempt.phase !== 'loading') return { journal: alive, crash: false };
  const present = kernel.livepatches.some((it) => it.name === attempt.module);
  return { journal: present ? machine.loaded(alive, now) : machine.neverLoaded(alive, now, BROKEN_OFF), crash: false };
}
