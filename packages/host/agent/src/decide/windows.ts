import * as z from 'zod';

const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

const TimeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of day is written like 02:30');

/** Name of the IANA time zone database, as far as this runtime knows it. */
const TimeZone = z
  .string()
  .max(64)
  .refine((name) => canUse(name), 'not a time zone, e.g. Europe/Berlin');

/**
 * When the agent may load. `to` before `from`: over midnight; the same: a whole day. `days` name the day on which it
 * begins (default: every day). `timeZone`: the host's where it is left out.
 */
export const MaintenanceWindow = z.strictObject({
  days: z
    .array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']))
    .min(1)
    .max(7)
    .optional(),
  from: TimeOfDay,
  to: TimeOfDay,
  timeZone: TimeZone.optional(),
});
export type MaintenanceWindow = z.infer<typeof MaintenanceWindow>;

/** None: always open. */
export const MaintenanceWindows = z.array(MaintenanceWindow).max(50);
export type MaintenanceWindows = z.infer<typeof MaintenanceWindows>;

export interface WindowState {
  readonly open: boolean;
  /** When it closes; `null` where it is closed, or does not close within the next week. */
  readonly until: Date | null;
  /** When it opens next; `null` where it is open. */
  readonly opens: Date | null;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A week of windows that touch each other repeats itself. */
const HORIZON = 8 * DAY;
/** A weekly window that falls into the hour that is left out in spring begins a week later only. */
const LONGEST_WAIT_DAYS = 15;

/**
 * Whether the agent may load now. A window begins when the clock on the wall first reaches `from` (or jumps over it) on
 * one of its days, and ends when that clock first reaches or jumps over `to`: an hour that is left out shortens it, one
 * that comes twice makes it longer, and a window that lies wholly in the hour left out does not come that day.
 * `hostZone`: `Intl.DateTimeFormat().resolvedOptions().timeZone`. Pure.
 */
export function windowAt(windows: MaintenanceWindows, now: Date, hostZone: string): WindowState {
  if (windows.length === 0) return { open: true, until: null, opens: null };
  const zones = new Map<string, Zone>();
  const rules = windows.map((window) => {
    const name = window.timeZone ?? hostZone;
    const zone = zones.get(name) ?? new Zone(name);
    zones.set(name, zone);
    return { window, zone };
  });
  const at = now.getTime();
  const closes = closing(rules, at);
  if (closes === at) return { open: false, until: null, opens: opening(rules, at) };
  return { open: true, until: closes > at + HORIZON ? null : new Date(closes), opens: null };
}

interface Rule {
  readonly window: MaintenanceWindow;
  readonly zone: Zone;
}

/**
 * The instant at which no window is open any more, through all that touch each other; `at` itself where none is open.
 */
function closing(rules: readonly Rule[], at: number): number {
  let closes = at;
  for (;;) {
    const reached = closes;
    for (const rule of rules) {
      // Tomorrow's counts too: a clock set back over midnight shows yesterday after that window has begun.
      for (const { start, end } of occurrences(rule, reached, -1, 1)) {
        if (start <= reached && end > closes) closes = end;
      }
    }
    if (closes === reached || closes > at + HORIZON) return closes;
  }
}

function opening(rules: readonly Rule[], at: number): Date | null {
  let first = Number.POSITIVE_INFINITY;
  for (const rule of rules) {
    for (const { start, end } of occurrences(rule, at, -1, LONGEST_WAIT_DAYS)) {
      if (start <= at || end <= start) continue;
      first = Math.min(first, start);
      break;
    }
  }
  return Number.isFinite(first) ? new Date(first) : null;
}

/** The window on its days from `first` to `last`, counted from the day that `at` is in. */
function* occurrences({ window, zone }: Rule, at: number, first: number, last: number) {
  const wall = at + zone.offset(at);
  const today = wall - modulo(wall, DAY);
  const from = minutesOf(window.from) * MINUTE;
  const to = minutesOf(window.to) * MINUTE;
  const length = to > from ? to - from : to - from + DAY;
  for (let day = first; day <= last; day += 1) {
    const begins = today + day * DAY + from;
    const name = days[new Date(today + day * DAY).getUTCDay()];
    if (window.days !== undefined && !window.days.some((it) => it === name)) continue;
    yield { start: zone.reaches(begins), end: zone.reaches(begins + length) };
  }
}

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

/** A time zone by the runtime's own data. Times on the wall are milliseconds as if they were UTC. */
class Zone {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** Milliseconds by which the wall is ahead of UTC. */
  offset(at: number): number {
    return Math.round(
      Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(this.#name).offsetNanoseconds / 1e6,
    );
  }

  /** The first instant at which the clock on the wall shows `wall` or later. */
  reaches(wall: number): number {
    const plain = Temporal.Instant.fromEpochMilliseconds(wall).toZonedDateTimeISO('UTC').toPlainDateTime();
    const at = plain.toZonedDateTime(this.#name, { disambiguation: 'earlier' });
    if (at.toPlainDateTime().equals(plain)) return at.epochMilliseconds;
    // It falls into an hour that is left out: the clock jumps over it.
    return at.getTimeZoneTransition('next')?.epochMilliseconds ?? at.epochMilliseconds;
  }
}

function canUse(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
