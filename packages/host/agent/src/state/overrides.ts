import { type Hold, type Journal, withEvent } from './journal.ts';
import type { Moment } from './machine.ts';

/** What a person or the policy says beside the state machine: it changes what may be loaded, not where a load stands. Pure. */

/** `resume`: nothing is held back or quarantined any more. */
export function resume(journal: Journal, now: Moment): Journal {
  const count = journal.quarantined.length;
  const message = `hold ${journal.hold === null ? 'not set' : 'lifted'}, ${count} quarantined livepatches released`;
  const current = journal.current?.phase === 'failed' ? null : journal.current;
  return withEvent(
    { ...journal, current, hold: null, deferred: null, quarantined: [] },
    { at: now.at, code: 'resumed', message },
  );
}

/** A command to load lifts the hold that `revert` set. */
export function lift(journal: Journal, now: Moment): Journal {
  return withEvent(
    { ...journal, hold: null },
    { at: now.at, code: 'hold-lifted', message: 'a command to load lifted the hold' },
  );
}

/** Withdrawn livepatches are not re-applied at boot, and nothing falls back to them. */
export function forget(journal: Journal, buildId: string, serials: ReadonlySet<number>): Journal {
  const good = journal.good.filter((it) => it.buildId !== buildId || !serials.has(it.serial));
  return good.length === journal.good.length ? journal : { ...journal, good };
}

/** A person's word alone: `hold`, or `revert` while nothing is loaded. */
export function hold(journal: Journal, value: Hold): Journal {
  const ends = value.until === null ? 'until kmend-agent resume' : `until ${value.until}`;
  const what = value.kind === 'out' ? 'nothing is loaded' : 'what runs now stays';
  const next = { ...journal, hold: value };
  return withEvent(next, { at: value.at, code: 'held', message: `${what} ${ends}: ${value.reason}` });
}
