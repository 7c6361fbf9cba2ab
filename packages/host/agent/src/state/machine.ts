import { blamedForCrash, mostCuts, retryAfter } from '@kmend/rules';
import type { JournalCode } from '../codes.ts';
import {
  type Attempt,
  condemnation,
  type Deferred,
  type Good,
  goodOf,
  type Hold,
  type Journal,
  limits,
  type Phase,
  type Quarantined,
  withEvent,
} from './journal.ts';
import { assertSource, attemptIn } from './transitions.ts';

// The loader's state machine: one function a transition, each of which asserts where it may come from and returns the
// whole next journal. Pure: the caller makes it durable before it acts on it. The states are in transitions.ts.

/**
 * A moment on this host: wall clock for people (ISO 8601, UTC), seconds since boot for durations (the wall clock may
 * jump).
 */
export interface Moment {
  readonly at: string;
  readonly uptime: number;
}
export type Candidate = Pick<
  Attempt,
  'buildId' | 'serial' | 'id' | 'module' | 'bootId' | 'origin' | 'sha256' | 'logFrom'
>;

function begin(journal: Journal, candidate: Candidate, phase: Phase, now: Moment): Journal {
  const { buildId, serial, id, module } = candidate;
  const inForce = journal.current?.phase === 'soak' || journal.current?.phase === 'good';
  return {
    ...journal,
    previous: inForce ? journal.current : null,
    current: {
      ...candidate,
      phase,
      began: now.at,
      since: now.at,
      sinceUptime: now.uptime,
      stuck: false,
      cleanShutdown: false,
      failure: null,
    },
    known: withKnown(journal, { buildId, serial, id, module }),
  };
}

/** The kernel is about to be asked. */
export function beginLoad(journal: Journal, candidate: Candidate, now: Moment): Journal {
  assertSource('beginLoad', journal);
  return withEvent(begin(journal, candidate, 'loading', now), {
    at: now.at,
    code: 'load-started',
    message: `loading ${candidate.module}`,
    serial: candidate.serial,
  });
}

/** The livepatch that should run is in the kernel although the journal knows nothing of it. */
export function adopt(journal: Journal, candidate: Candidate, now: Moment): Journal {
  assertSource('adopt', journal);
  return withEvent(begin(journal, candidate, 'transition', now), {
    at: now.at,
    code: 'adopted',
    message: `${candidate.module} was already loaded by a previous run of the agent`,
    serial: candidate.serial,
  });
}

/**
 * What runs is another serial too, signed otherwise: it is that one from now on, where it stands. `sha256`: of the
 * other's file.
 */
export function renumber(journal: Journal, serial: number, sha256: string, now: Moment): Journal {
  const attempt = attemptIn('renumber', journal);
  const { buildId, id, module } = attempt;
  const current = { ...attempt, serial, sha256: attempt.sha256 === null ? null : sha256 };
  const next = {
    ...journal,
    current,
    known: withKnown(journal, { buildId, serial, id, module }),
    good: attempt.phase === 'good' ? goodWith(journal, current, now, true) : journal.good,
  };
  const message = `${module}, loaded as serial ${attempt.serial}, has the content of serial ${serial}: nothing was loaded`;
  return withEvent(next, { at: now.at, code: 'renumbered', message, serial });
}

function withKnown(journal: Journal, it: Journal['known'][number]): Journal['known'] {
  const others = journal.known.filter((other) => other.buildId !== it.buildId || other.serial !== it.serial);
  return [...others, it].slice(-limits.known);
}

interface Entry {
  readonly phase: Phase;
  /** The event that it leaves. */
  readonly code: JournalCode;
  readonly message: string;
}

function enter(journal: Journal, attempt: Attempt, now: Moment, { phase, code, message }: Entry): Journal {
  const next = { ...journal, current: { ...attempt, phase, since: now.at, sinceUptime: now.uptime, stuck: false } };
  return withEvent(next, { at: now.at, code, message, serial: attempt.serial });
}

export function loaded(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('loaded', journal);
  return enter(journal, attempt, now, {
    phase: 'transition',
    code: 'loaded',
    message: `the kernel took ${attempt.module}`,
  });
}

/**
 * The kernel was not asked, or was and the host could not do it, in this same boot: nothing is held against the
 * livepatch.
 */
export function neverLoaded(journal: Journal, now: Moment, reason: string): Journal {
  const attempt = attemptIn('neverLoaded', journal);
  const message = `${attempt.module} was not loaded: ${reason}`.slice(0, 2000);
  return withEvent(
    { ...journal, current: journal.previous, previous: null },
    { at: now.at, code: 'load-abandoned', message, serial: attempt.serial },
  );
}

/** `seconds` is how long the transition took. */
export function transitioned(journal: Journal, now: Moment, seconds: number): Journal {
  const attempt = attemptIn('transitioned', journal);
  const message = `every task runs ${attempt.module}, after ${seconds.toFixed(1)} s`;
  return enter(journal, attempt, now, { phase: 'replacing', code: 'transition-complete', message });
}

/** `left` names replaced modules that the kernel would not give up: harmless (disabled), but worth knowing. */
export function replaced(journal: Journal, now: Moment, left: readonly string[]): Journal {
  const attempt = attemptIn('replaced', journal);
  const message =
    left.length === 0 ? `${attempt.module} alone is loaded` : `in memory still, disabled: ${left.join(', ')}`;
  return enter({ ...journal, previous: null }, attempt, now, { phase: 'soak', code: 'replaced', message });
}

export function soaked(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('soaked', journal);
  const message = `${attempt.module} came through its soak`;
  const next = enter({ ...journal, deferred: null }, attempt, now, { phase: 'good', code: 'good', message });
  return { ...next, good: goodWith(journal, attempt, now, true) };
}

/** The livepatches to re-apply at boot, a few a kernel; never one whose bytes this host has not compared. */
function goodWith(journal: Journal, attempt: Attempt, now: Moment, soaked: boolean): Good[] {
  const { buildId, serial, id, module, sha256 } = attempt;
  if (sha256 === null) return journal.good;
  const good: Good = { buildId, serial, id, module, sha256, since: now.at, soaked, cuts: 0 };
  const mine = journal.good.filter((it) => it.buildId === buildId && it.serial !== serial);
  const others = journal.good.filter((it) => it.buildId !== buildId);
  return [...others, ...mine.slice(1 - limits.goodOfKernel), good].slice(-limits.good);
}

/** Reported once a transition: it takes long, and what blocks it. The agent keeps waiting; it never forces. */
export function reportStuck(journal: Journal, now: Moment, message: string): Journal {
  const attempt = attemptIn('reportStuck', journal);
  const next = { ...journal, current: { ...attempt, stuck: true } };
  return withEvent(next, {
    at: now.at,
    code: 'transition-stuck',
    message: message.slice(0, 2000),
    serial: attempt.serial,
  });
}

type Cause = Pick<Quarantined, 'code' | 'reason'>;
type CauseNow = Cause & { readonly code: JournalCode };

function quarantine(
  journal: Journal,
  attempt: Pick<Attempt, 'buildId' | 'serial' | 'id'>,
  now: Moment,
  { code, reason }: Cause,
): Journal {
  const { buildId, serial, id } = attempt;
  const same = (it: { buildId: string; serial: number }): boolean => it.buildId === buildId && it.serial === serial;
  const entry = { buildId, serial, id, code, reason: reason.slice(0, 2000), at: now.at };
  const quarantined = [...journal.quarantined.filter((it) => !same(it)), entry].slice(-limits.quarantined);
  const next = { ...journal, quarantined };
  const good = journal.good.filter((it) => !same(it) && condemnation(next, it.buildId, it.id) === undefined);
  return { ...next, good };
}

/** A serial with the content of one that is quarantined for what it did is quarantined too, before it is loaded. */
export function condemn(journal: Journal, as: Quarantined, now: Moment): Journal {
  const next = quarantine(journal, as, now, as);
  const message = `serial ${as.serial} has the content ${as.id}, which is quarantined: ${as.reason}`.slice(0, 2000);
  return withEvent(next, { at: now.at, code: 'quarantined', message, serial: as.serial });
}

export interface Failure {
  readonly code: JournalCode;
  readonly message: string;
  readonly previousInForce: boolean;
}

/**
 * It is quarantined: not loaded again on this host until `resume`. `previousInForce`: the kernel still runs what this
 * attempt was to replace, so that is the host's livepatch again.
 */
export function fail(journal: Journal, now: Moment, { code, message, previousInForce }: Failure): Journal {
  const attempt = attemptIn('fail', journal);
  const text = message.slice(0, 2000);
  const next = quarantine(journal, attempt, now, { code, reason: text });
  const failed: Attempt = { ...attempt, phase: 'failed', since: now.at, failure: { code, message: text } };
  const current = previousInForce && journal.previous !== null ? journal.previous : failed;
  return withEvent({ ...next, current, previous: null }, { at: now.at, code, message: text, serial: attempt.serial });
}

/**
 * The transition did not end in its time: it is taken back, and tried again later. Nothing is quarantined: the tasks
 * were in the way.
 */
export function timeOut(journal: Journal, now: Moment, message: string): Journal {
  const attempt = attemptIn('timeOut', journal);
  const { buildId, serial, bootId } = attempt;
  const before = journal.deferred;
  const again = before?.buildId === buildId && before.serial === serial && before.bootId === bootId;
  const tries = again ? before.tries + 1 : 1;
  const deferred: Deferred = { buildId, serial, bootId, tries, untilUptime: now.uptime + retryAfter(tries) };
  const text = `${message}; reverted, retried in ${Math.round(retryAfter(tries) / 60)} minutes`;
  return enter({ ...journal, deferred }, attempt, now, {
    phase: 'reverting',
    code: 'transition-timeout',
    message: text,
  });
}

/** The kernel complained of it while it was watched: it is reverted and quarantined. */
export function indict(journal: Journal, now: Moment, complaint: string): Journal {
  const attempt = attemptIn('indict', journal);
  const next = quarantine(journal, attempt, now, { code: 'kernel-complaint', reason: complaint } satisfies CauseNow);
  return enter(next, attempt, now, {
    phase: 'reverting',
    code: 'kernel-complaint',
    message: `${attempt.module} is reverted: ${complaint}`,
  });
}

/** `hold` stands from now on; `null` leaves the one there is. */
export function beginRevert(journal: Journal, now: Moment, hold: Hold | null, reason: string): Journal {
  const attempt = attemptIn('beginRevert', journal);
  const next = enter(journal, attempt, now, { phase: 'reverting', code: 'revert-started', message: reason });
  return hold === null ? next : { ...next, hold };
}

/** `previousInForce`: taken back in mid-transition, so the kernel runs the one before it. */
export function reverted(journal: Journal, now: Moment, previousInForce: boolean): Journal {
  const { module, serial } = attemptIn('reverted', journal);
  const next = { ...journal, current: previousInForce ? journal.previous : null, previous: null };
  return withEvent(next, { at: now.at, code: 'reverted', message: `${module} is out of the kernel`, serial });
}

/** The host is going down in good order. */
export function markShutdown(journal: Journal): Journal {
  const attempt = attemptIn('markShutdown', journal);
  return { ...journal, current: { ...attempt, cleanShutdown: true } };
}

/**
 * Another boot, and no orderly shutdown before it: the livepatch is quarantined. `pstore`: names of what the kernel
 * left there.
 */
export function crashed(journal: Journal, now: Moment, pstore: readonly string[]): Journal {
  const attempt = attemptIn('crashed', journal);
  const traces = pstore.length === 0 ? 'nothing in pstore' : `pstore holds ${pstore.join(', ')}`;
  const reason =
    `the host went down without an orderly shutdown while ${attempt.module} was in state ` +
    `${attempt.phase} (since ${attempt.since}); ${traces}`;
  const next = quarantine({ ...journal, current: null, previous: null }, attempt, now, {
    code: 'crashed',
    reason,
  } satisfies CauseNow);
  return withEvent(next, { at: now.at, code: 'quarantined', message: reason.slice(0, 2000), serial: attempt.serial });
}

/**
 * Whether a host that went down without an orderly shutdown says nothing of this livepatch yet: it came through a soak
 * here before, was put back by a boot, and this is not the third time in a row. Somebody pulled the plug in a rescue
 * shell, or something else panicked.
 */
export function isTrusted(journal: Journal, { phase, module, buildId, serial }: Attempt): boolean {
  if (phase === 'good' || phase === 'failed') return false;
  const good = goodOf(journal, buildId, serial);
  const watched = phase === 'replacing' ? 'transition' : phase;
  const load = { module, phase: watched, wasGood: good !== undefined, isTrusted: good?.soaked === true } as const;
  return blamedForCrash([load], good?.cuts ?? 0) === 'counted';
}

/**
 * Another boot, and no orderly shutdown before it, in a later soak of a livepatch that `isTrusted`: it is counted, and
 * re-applied.
 */
export function cutOff(journal: Journal, now: Moment): Journal {
  const { module, serial, buildId, phase } = attemptIn('cutOff', journal);
  const cuts = (goodOf(journal, buildId, serial)?.cuts ?? 0) + 1;
  const good = journal.good.map((it) => (it.buildId === buildId && it.serial === serial ? { ...it, cuts } : it));
  const message =
    `the host went down without an orderly shutdown while ${module}, which came through its soak before, was in state ${phase}: ` +
    `not quarantined (${cuts} of ${mostCuts} in a row)`;
  return withEvent(
    { ...journal, current: null, previous: null, good },
    { at: now.at, code: 'went-down', message, serial },
  );
}

/**
 * Another boot after an orderly shutdown, or after the livepatch was good (or failed) already: nothing is loaded now.
 * One that ran until the shutdown is good enough to be re-applied, so that a reboot in the soak takes no protection
 * away; its soak begins again.
 */
export function rebooted(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('rebooted', journal);
  const next = { ...journal, current: null, previous: null };
  if (attempt.phase !== 'soak') return next;
  const before = goodOf(journal, attempt.buildId, attempt.serial);
  return { ...next, good: goodWith(journal, attempt, now, before?.soaked ?? false) };
}

/**
 * The packages are about to take what runs, or out of the way what failed: it is theirs from now on, and its going is
 * no failure.
 */
export function handOver(journal: Journal, now: Moment): Journal {
  assertSource('handOver', journal);
  const { current } = journal;
  const message = `the packages drive this host${current === null ? '' : `, and replace ${current.module}`}`;
  return withEvent(
    { ...journal, current: null, previous: null, consolidation: null, handedOver: now.at },
    { at: now.at, code: 'handed-over', message, ...(current === null ? {} : { serial: current.serial }) },
  );
}

/** The packages could not be asked: what ran before is followed as before. */
export function keep(journal: Journal, attempt: Attempt, now: Moment, reason: string): Journal {
  assertSource('keep', journal);
  const message = `the packages did not take over this host: ${reason}`;
  return withEvent(
    { ...journal, current: attempt, handedOver: null },
    { at: now.at, code: 'hand-over-failed', message, serial: attempt.serial },
  );
}
