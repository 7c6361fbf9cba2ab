import { ServerError } from '../error.ts';

/** A machine that fetched no packages for so long has left its seat (docs/decisions/052-package-seats.md). */
const PACKAGE_SEAT_MS = 30 * 86_400_000;

/**
 * An enrolled host without a report for so long has left its seat, unless the operator sets another time. It may come
 * back, and holds it again.
 */
export const HOST_SEAT_MS = 90 * 86_400_000;

/** Milliseconds between two notes of a machine that fetches packages: `apt` asks for many files in one run. */
const NOTE_MS = 3_600_000;

/** Machines seen with packages since then hold a seat. */
export function packageSeatsSince(now: Date): string {
  return before(now, PACKAGE_SEAT_MS);
}

/** Enrolled hosts heard of since then hold a seat. */
export function hostSeatsSince(now: Date, seatMs: number): string {
  return before(now, seatMs);
}

/** Whether a machine that fetches packages is recorded again; `lastSeen`: `undefined` if it was never seen. */
export function isNoteDue(lastSeen: string | undefined, now: Date): boolean {
  return lastSeen === undefined || lastSeen <= before(now, NOTE_MS);
}

/** Whether a machine that fetches packages needs a seat: one that has a seat keeps it. */
export function needsSeat(lastSeen: string | undefined, now: Date): boolean {
  return lastSeen === undefined || lastSeen < packageSeatsSince(now);
}

function before(now: Date, ms: number): string {
  return new Date(now.getTime() - ms).toISOString();
}

/** What of an activation key decides who may enrol. */
export interface SeatKey {
  readonly id: string;
  readonly name: string;
  /** `null`: any number. */
  readonly seats: number | null;
  readonly expires: string | null;
  readonly revoked: boolean;
}

/** Throws `key-unknown` (there is none), `key-revoked`, `key-expired`. */
export function assertValidKey<T extends SeatKey>(key: T | undefined, now: Date): asserts key is T {
  if (key === undefined) {
    throw new ServerError('key-unknown', 'this server does not know the activation key', {
      hint: 'check for a typing error, and that the host uses the right server',
    });
  }
  const details = { id: key.id, name: key.name };
  if (key.revoked) {
    const hint = 'ask the operator for another key';
    throw new ServerError('key-revoked', `the activation key "${key.name}" was revoked`, { hint, details });
  }
  if (key.expires !== null && Date.parse(key.expires) <= now.getTime()) {
    const hint = 'ask the operator for a new key';
    throw new ServerError('key-expired', `the activation key "${key.name}" expired at ${key.expires}`, {
      hint,
      details,
    });
  }
}

/** Throws `key-no-seats` where enrolled hosts and machines that fetch packages have taken them all. */
export function assertSeat({ id, name, seats }: SeatKey, taken: { hosts: number; packageHosts: number }): void {
  if (seats === null || taken.hosts + taken.packageHosts < seats) return;
  throw new ServerError('key-no-seats', `all ${seats} seats of the activation key "${name}" are taken`, {
    hint: 'remove hosts that no longer exist, or ask the operator for a key with more seats',
    details: { id, name },
  });
}

/** Throws `host-unnamed` if seats are limited and the machine that requests packages has no name. */
export function assertNamed({ id, name }: SeatKey, label: string | undefined): asserts label is string {
  if (label !== undefined) return;
  throw new ServerError('host-unnamed', `the activation key "${name}" has seats, and the machine has no name`, {
    hint: 'the user must be kmend-<name of the machine>: run the operator’s setup again, on the machine itself',
    details: { id, name },
  });
}
