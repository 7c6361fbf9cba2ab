import { type Journal, withEvent } from './journal.ts';
import type { Moment } from './machine.ts';

/** The packages are about to be asked to yield. */
export function beginConsolidation(journal: Journal, now: Moment, bootId: string, modules: readonly string[]): Journal {
  const consolidation = { bootId, at: now.at, modules: [...modules] };
  const message = `replacing the stack of the packages: ${modules.join(', ')}`;
  return withEvent(
    { ...journal, consolidation, handedOver: null },
    { at: now.at, code: 'consolidation-started', message },
  );
}

/** `consolidated`: the agent drives this host for good; `consolidation-ended`: the packages do again. */
export function endConsolidation(
  journal: Journal,
  now: Moment,
  code: 'consolidated' | 'consolidation-ended',
  message: string,
): Journal {
  return withEvent({ ...journal, consolidation: null }, { at: now.at, code, message });
}
