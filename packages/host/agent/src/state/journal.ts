import { BuildId, HostEvent, ObjectName, Serial, Sha256, Timestamp } from '@kmend/protocol';
import * as z from 'zod';
import type { JournalCode } from '../codes.ts';

/**
 * Where one load stands. `idle` is the absence of an attempt.
 * - loading: written before the kernel is asked; insmod may or may not have happened
 * - transition: the kernel has the module and moves its tasks over
 * - replacing: every task is over; livepatches it replaced are being unloaded
 * - soak: in force, but not yet trusted: a crash now counts against it
 * - good: it survived its soak; re-applied at boot
 * - reverting: the kernel moves its tasks back
 * - failed: it was refused, or broke; nothing more is done with it
 */
export const Phase = z.enum(['loading', 'transition', 'replacing', 'soak', 'good', 'reverting', 'failed']);
export type Phase = z.infer<typeof Phase>;

/** Identity of a livepatch on this host, as the signed repository named it. */
const livepatchFields = {
  buildId: BuildId,
  serial: Serial,
  id: z.string().regex(/^[0-9a-f]{12}$/),
  module: ObjectName,
};

export const Attempt = z.object({
  ...livepatchFields,
  phase: Phase,
  /** Boot in which it began; a load never outlives its boot. */
  bootId: z.uuid(),
  origin: z.enum(['check', 'order', 'boot', 'adopted']),
  began: Timestamp,
  /** When `phase` was entered. */
  since: Timestamp,
  /** The same in seconds since boot, for durations: the wall clock may jump, early in a boot above all. */
  sinceUptime: z.number().min(0),
  /**
   * SHA-256 of the verified file whose content was handed to the kernel; `null` where the agent found the module loaded
   * already.
   */
  sha256: Sha256.nullable(),
  /**
   * Time of the last kernel log line before it, in seconds of the log's own clock: what complains later may be its
   * doing.
   */
  logFrom: z.number().min(0),
  /** The transition was reported as stuck; once each. */
  stuck: z.boolean(),
  /** This boot was being shut down in good order: the next boot must not call it a crash. */
  cleanShutdown: z.boolean(),
  failure: z.object({ code: z.string().max(64), message: z.string().max(2000) }).nullable(),
});
export type Attempt = z.infer<typeof Attempt>;

export const Good = z.object({
  ...livepatchFields,
  sha256: Sha256,
  since: Timestamp,
  /** It came through a whole soak on this host; false: it ran until an orderly shutdown. */
  soaked: z.boolean().default(true),
  /** How often in a row the host went down without an orderly shutdown while it soaked once more after a boot. */
  cuts: z.int().min(0).default(0),
});
export type Good = z.infer<typeof Good>;

export const Quarantined = z.object({
  buildId: BuildId,
  serial: Serial,
  id: z.string(),
  code: z.string().max(64),
  reason: z.string().max(2000),
  at: Timestamp,
});
export type Quarantined = z.infer<typeof Quarantined>;

/**
 * A person's word that stands above the policy, for one kernel.
 * - out: set by `revert`: nothing is loaded until `resume`, or (where a serial is named) until there is a newer one
 * - stay: set by `hold` and `apply --serial`: what runs now goes on running, also over reboots
 */
export const Hold = z.object({
  kind: z.enum(['out', 'stay']),
  buildId: BuildId,
  untilNewerThan: Serial.nullable(),
  /** It ends by itself then; `null`: with `resume`. */
  until: Timestamp.nullable(),
  reason: z.string().max(500),
  at: Timestamp,
});
export type Hold = z.infer<typeof Hold>;

/**
 * A livepatch whose transition was taken back because it did not end: tried again later in the same boot (what holds a
 * transition up ends with the boot). In seconds since boot: the wall clock may jump by years.
 */
export const Deferred = z.object({
  buildId: BuildId,
  serial: Serial,
  bootId: z.uuid(),
  tries: z.int().min(1),
  untilUptime: z.number().min(0),
});
export type Deferred = z.infer<typeof Deferred>;

/**
 * The packages' stack is being replaced by the agent's livepatch. Set before the packages yield (for this boot), taken
 * away when the agent drives the host for good, or they do again: the next run of the agent that finds it brings it to
 * one of these ends (loader/settle.ts).
 */
export const Consolidation = z.object({
  bootId: z.uuid(),
  at: Timestamp,
  /** What was in force, bottom first. */
  modules: z.array(ObjectName).max(1000),
});
export type Consolidation = z.infer<typeof Consolidation>;

/** `number` counts up without an end, so that a reporter knows which events were sent. */
export const JournalEvent = HostEvent.extend({ number: z.int().min(1) });
export type JournalEvent = z.infer<typeof JournalEvent>;

export const limits = { good: 24, goodOfKernel: 3, quarantined: 100, known: 32, events: 200 } as const;

export const Journal = z.object({
  schema: z.literal('kmend.agent-journal/1'),
  current: Attempt.nullable(),
  /** What was in force when `current` began; still is where `current` fails or is taken back before it replaced it. */
  previous: Attempt.nullable(),
  /**
   * The last good livepatches of each kernel this host has run, newest last: re-applied at boot, and what to fall back
   * to.
   */
  good: z.array(Good).max(limits.good),
  quarantined: z.array(Quarantined).max(limits.quarantined),
  hold: Hold.nullable(),
  deferred: Deferred.nullable(),
  /** Livepatches this host has met, to name what sysfs shows. */
  known: z.array(z.object(livepatchFields)).max(limits.known),
  /** What happened, newest last; the oldest fall off. */
  events: z.array(JournalEvent).max(limits.events),
  consolidation: Consolidation.nullable().default(null),
  /** When a person gave this host back to its packages: while they drive it, no policy takes it from them. */
  handedOver: Timestamp.nullable().default(null),
  /**
   * Whose it is (kernel/machine.ts): that of another machine, in an image or a clone, is none. `null`: not recorded.
   */
  machine: Sha256.nullable().default(null),
});
export type Journal = z.infer<typeof Journal>;

export const emptyJournal: Journal = {
  schema: 'kmend.agent-journal/1',
  current: null,
  previous: null,
  good: [],
  quarantined: [],
  hold: null,
  deferred: null,
  known: [],
  events: [],
  consolidation: null,
  handedOver: null,
  machine: null,
};

/** An event as this version makes it. */
export interface NewEvent extends HostEvent {
  readonly code: JournalCode;
}

/** Adds an event; the oldest fall off, so that the journal never fills a disk. */
export function withEvent(journal: Journal, event: NewEvent): Journal {
  const number = (journal.events.at(-1)?.number ?? 0) + 1;
  const message = event.message.slice(0, 2000);
  return { ...journal, events: [...journal.events, { ...event, message, number }].slice(-limits.events) };
}

export function serialOf(journal: Journal, buildId: string): (module: string) => number | null {
  return (module) => journal.known.findLast((it) => it.buildId === buildId && it.module === module)?.serial ?? null;
}

export function isQuarantined(journal: Journal, buildId: string, serial: number): boolean {
  return journal.quarantined.some((it) => it.buildId === buildId && it.serial === serial);
}

/** Codes of a quarantine that speaks of what the livepatch did, whatever its serial and signature. */
const OF_CONTENT: readonly string[] = ['crashed', 'kernel-complaint'] satisfies JournalCode[];

/** Why the content with this id is loaded under no serial. */
export function condemnation(journal: Journal, buildId: string, id: string): Quarantined | undefined {
  return journal.quarantined.find((it) => it.buildId === buildId && it.id === id && OF_CONTENT.includes(it.code));
}

/** What this host remembers of a livepatch that was good here. */
export function goodOf(journal: Journal, buildId: string, serial: number): Good | undefined {
  return journal.good.find((it) => it.buildId === buildId && it.serial === serial);
}

/** The newest good livepatch of a kernel that is neither quarantined nor refused by `allowed`. */
export function lastGood(journal: Journal, buildId: string, allowed: (serial: number) => boolean): Good | undefined {
  return journal.good.findLast(
    (it) => it.buildId === buildId && !isQuarantined(journal, buildId, it.serial) && allowed(it.serial),
  );
}

/** Whether the hold of a person stands at this moment (`now`: milliseconds since 1970). */
export function holdInForce(journal: Journal, buildId: string, now: number): Hold | null {
  const { hold } = journal;
  if (hold === null || hold.buildId !== buildId) return null;
  return hold.until !== null && Date.parse(hold.until) <= now ? null : hold;
}
