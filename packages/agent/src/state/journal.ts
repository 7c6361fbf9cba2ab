import { BuildId, HostEvent, ObjectName, Serial, Sha256, Timestamp } from '@kmend/protocol';
import { z } from 'zod';

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
  origin: z.enum(['check', 'boot', 'adopted']),
  began: Timestamp,
  /** When `phase` was entered. */
  since: Timestamp,
  /** The same in seconds since boot, for durations: the wall clock may jump, early in a boot above all. */
  sinceUptime: z.number().min(0),
  /** SHA-256 of the very file handed to the kernel; `null` where the agent found the module loaded already. */
  sha256: Sha256.nullable(),
  /** The transition was reported as stuck; once each. */
  stuck: z.boolean(),
  /** This boot was being shut down in good order: the next boot must not call it a crash. */
  cleanShutdown: z.boolean(),
  failure: z.object({ code: z.string().max(64), message: z.string().max(2000) }).nullable(),
});
export type Attempt = z.infer<typeof Attempt>;

export const Good = z.object({ ...livepatchFields, sha256: Sha256, since: Timestamp });
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

/** Set by `revert`: nothing is loaded until `resume`, or (where a serial is named) until there is a newer one. */
export const Hold = z.object({ buildId: BuildId, untilNewerThan: Serial.nullable(), at: Timestamp });
export type Hold = z.infer<typeof Hold>;

export const limits = { good: 8, quarantined: 100, known: 32, events: 200 } as const;

export const Journal = z.object({
  schema: z.literal('kmend.agent-journal/1'),
  current: Attempt.nullable(),
  /** What was in force when `current` began; still is where `current` fails or is taken back before it replaced it. */
  previous: Attempt.nullable(),
  /** Last good livepatch of each kernel this host has run, newest last. */
  good: z.array(Good).max(limits.good),
  quarantined: z.array(Quarantined).max(limits.quarantined),
  hold: Hold.nullable(),
  /** Livepatches this host has met, to name what sysfs shows. */
  known: z.array(z.object(livepatchFields)).max(limits.known),
  /** Not yet acknowledged by the server; the oldest fall off. */
  events: z.array(HostEvent).max(limits.events),
  /** Sequence number of the last report sent or tried. */
  sequence: z.int().min(0),
});
export type Journal = z.infer<typeof Journal>;

export const emptyJournal: Journal = {
  schema: 'kmend.agent-journal/1',
  current: null,
  previous: null,
  good: [],
  quarantined: [],
  hold: null,
  known: [],
  events: [],
  sequence: 0,
};

/** Adds an event; the oldest fall off, so that a host that cannot report does not fill its disk. */
export function withEvent(journal: Journal, event: HostEvent): Journal {
  return { ...journal, events: [...journal.events, event].slice(-limits.events) };
}

export function serialOf(journal: Journal, buildId: string): (module: string) => number | null {
  return (module) => journal.known.findLast((it) => it.buildId === buildId && it.module === module)?.serial ?? null;
}

export function isQuarantined(journal: Journal, buildId: string, serial: number): boolean {
  return journal.quarantined.some((it) => it.buildId === buildId && it.serial === serial);
}
