import { AgentError } from '../error.ts';
import { type Attempt, type Good, type Hold, type Journal, limits, type Phase, withEvent } from './journal.ts';

/**
 * The agent's state machine: one function a transition, each of which asserts where it may come from and returns the
 * whole next journal. Pure: the caller makes it durable before it acts on it.
 *
 *   idle ──beginLoad──▶ loading ──loaded──▶ transition ──transitioned──▶ replacing ──replaced──▶ soak ──soaked──▶ good
 *   idle ──adopt──▶ transition              soak, good, failed ──beginLoad──▶ loading
 *   loading, transition, replacing, soak, good, reverting ──fail──▶ failed (quarantined)
 *   transition, replacing, soak, good, failed ──beginRevert──▶ reverting ──reverted──▶ idle
 *   loading ──neverLoaded──▶ idle           any of an earlier boot ──crashed (quarantined) | rebooted──▶ idle
 */
export type State = Phase | 'idle';

export function stateOf(journal: Journal): State {
  return journal.current?.phase ?? 'idle';
}

/** Legal sources of each transition. */
export const sources = {
  beginLoad: ['idle', 'soak', 'good', 'failed'],
  adopt: ['idle', 'failed'],
  loaded: ['loading'],
  neverLoaded: ['loading'],
  transitioned: ['transition'],
  replaced: ['replacing'],
  soaked: ['soak'],
  reportStuck: ['transition', 'reverting'],
  fail: ['loading', 'transition', 'replacing', 'soak', 'good', 'reverting'],
  beginRevert: ['transition', 'replacing', 'soak', 'good', 'failed'],
  reverted: ['reverting'],
  markShutdown: ['loading', 'transition', 'replacing', 'soak', 'good', 'reverting', 'failed'],
  crashed: ['loading', 'transition', 'replacing', 'soak', 'reverting'],
  rebooted: ['loading', 'transition', 'replacing', 'soak', 'good', 'reverting', 'failed'],
} as const satisfies Record<string, readonly State[]>;
export type TransitionName = keyof typeof sources;

function assertSource(name: TransitionName, journal: Journal): void {
  const state = stateOf(journal);
  if (!(sources[name] as readonly State[]).includes(state)) {
    throw new AgentError('illegal-transition', `"${name}" is not possible in state ${state}`, {
      details: { transition: name, state },
      hint: 'this is a defect of the agent: nothing was changed; please report it with the journal',
    });
  }
}

function attemptIn(name: TransitionName, journal: Journal): Attempt {
  assertSource(name, journal);
  if (journal.current === null) throw new AgentError('illegal-transition', `"${name}" needs a livepatch`);
  return journal.current;
}

/** A moment on this host: wall clock for people (ISO 8601, UTC), seconds since boot for durations (the wall clock may jump). */
export interface Moment {
  readonly at: string;
  readonly uptime: number;
}
export type Candidate = Pick<Attempt, 'buildId' | 'serial' | 'id' | 'module' | 'bootId' | 'origin' | 'sha256'>;

function begin(journal: Journal, candidate: Candidate, phase: Phase, now: Moment): Journal {
  const { buildId, serial, id, module } = candidate;
  const others = journal.known.filter((it) => it.buildId !== buildId || it.serial !== serial);
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
    known: [...others, { buildId, serial, id, module }].slice(-limits.known),
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
    message: `${candidate.module} was loaded already, by an earlier life of the agent`,
    serial: candidate.serial,
  });
}

function enter(journal: Journal, attempt: Attempt, phase: Phase, now: Moment, code: string, message: string): Journal {
  const next = { ...journal, current: { ...attempt, phase, since: now.at, sinceUptime: now.uptime, stuck: false } };
  return withEvent(next, { at: now.at, code, message, serial: attempt.serial });
}

export function loaded(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('loaded', journal);
  return enter(journal, attempt, 'transition', now, 'loaded', `the kernel took ${attempt.module}`);
}

/** The agent died before it asked the kernel, in this same boot. */
export function neverLoaded(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('neverLoaded', journal);
  return withEvent(
    { ...journal, current: journal.previous, previous: null },
    { at: now.at, code: 'load-abandoned', message: `${attempt.module} was not loaded`, serial: attempt.serial },
  );
}

/** `seconds` is how long the transition took. */
export function transitioned(journal: Journal, now: Moment, seconds: number): Journal {
  const attempt = attemptIn('transitioned', journal);
  const message = `every task runs ${attempt.module}, after ${seconds.toFixed(1)} s`;
  return enter(journal, attempt, 'replacing', now, 'transition-complete', message);
}

/** `left` names replaced modules that the kernel would not give up: harmless (disabled), but worth knowing. */
export function replaced(journal: Journal, now: Moment, left: readonly string[]): Journal {
  const attempt = attemptIn('replaced', journal);
  const message =
    left.length === 0 ? `${attempt.module} alone is loaded` : `in memory still, disabled: ${left.join(', ')}`;
  return enter({ ...journal, previous: null }, attempt, 'soak', now, 'replaced', message);
}

export function soaked(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('soaked', journal);
  const next = enter(journal, attempt, 'good', now, 'good', `${attempt.module} came through its soak`);
  return { ...next, good: goodWith(journal, attempt, now) };
}

/** The livepatches to re-apply at boot, one a kernel; never one whose bytes this host has not compared. */
function goodWith(journal: Journal, { buildId, serial, id, module, sha256 }: Attempt, now: Moment): Good[] {
  if (sha256 === null) return journal.good;
  const good: Good = { buildId, serial, id, module, sha256, since: now.at };
  return [...journal.good.filter((it) => it.buildId !== buildId), good].slice(-limits.good);
}

/** Said once a transition: it takes long, and what holds it up. The agent goes on waiting; it never forces. */
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

function quarantine(journal: Journal, attempt: Attempt, now: Moment, code: string, reason: string): Journal {
  const { buildId, serial, id } = attempt;
  const same = (it: { buildId: string; serial: number }): boolean => it.buildId === buildId && it.serial === serial;
  const entry = { buildId, serial, id, code, reason: reason.slice(0, 2000), at: now.at };
  return {
    ...journal,
    good: journal.good.filter((it) => !same(it)),
    quarantined: [...journal.quarantined.filter((it) => !same(it)), entry].slice(-limits.quarantined),
  };
}

/**
 * It is quarantined: not loaded again on this host until `resume`. `previousInForce`: the kernel still runs what this
 * attempt was to replace, so that is the host's livepatch again.
 */
export function fail(journal: Journal, now: Moment, code: string, message: string, previousInForce: boolean): Journal {
  const attempt = attemptIn('fail', journal);
  const text = message.slice(0, 2000);
  const next = quarantine(journal, attempt, now, code, text);
  const failed: Attempt = { ...attempt, phase: 'failed', since: now.at, failure: { code, message: text } };
  const current = previousInForce && journal.previous !== null ? journal.previous : failed;
  return withEvent({ ...next, current, previous: null }, { at: now.at, code, message: text, serial: attempt.serial });
}

export function beginRevert(journal: Journal, now: Moment, hold: Hold | null, reason: string): Journal {
  const attempt = attemptIn('beginRevert', journal);
  const next = enter(journal, attempt, 'reverting', now, 'revert-started', reason);
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

/** Another boot, and no orderly shutdown before it: the livepatch is quarantined. `pstore`: names of what the kernel left there. */
export function crashed(journal: Journal, now: Moment, pstore: readonly string[]): Journal {
  const attempt = attemptIn('crashed', journal);
  const traces = pstore.length === 0 ? 'nothing in pstore' : `pstore holds ${pstore.join(', ')}`;
  const reason =
    `the host went down without an orderly shutdown while ${attempt.module} was in state ` +
    `${attempt.phase} (since ${attempt.since}); ${traces}`;
  const next = quarantine({ ...journal, current: null, previous: null }, attempt, now, 'crashed', reason);
  return withEvent(next, { at: now.at, code: 'quarantined', message: reason.slice(0, 2000), serial: attempt.serial });
}

/**
 * Another boot after an orderly shutdown, or after the livepatch was good (or failed) already: nothing is loaded now. One
 * that ran until the shutdown is good enough to be re-applied, so that a reboot in the soak takes no protection away; its
 * soak begins again.
 */
export function rebooted(journal: Journal, now: Moment): Journal {
  const attempt = attemptIn('rebooted', journal);
  const next = { ...journal, current: null, previous: null };
  return attempt.phase === 'soak' ? { ...next, good: goodWith(journal, attempt, now) } : next;
}

/** `resume`: nothing is held back or quarantined any more. */
export function resume(journal: Journal, now: Moment): Journal {
  const count = journal.quarantined.length;
  const message = `hold ${journal.hold === null ? 'not set' : 'lifted'}, ${count} quarantined livepatches released`;
  const current = journal.current?.phase === 'failed' ? null : journal.current;
  return withEvent({ ...journal, current, hold: null, quarantined: [] }, { at: now.at, code: 'resumed', message });
}

/** `revert` while nothing is loaded: only the hold. */
export function hold(journal: Journal, value: Hold): Journal {
  const next = { ...journal, hold: value };
  return withEvent(next, { at: value.at, code: 'held', message: 'nothing is loaded until kmend-agent resume' });
}
