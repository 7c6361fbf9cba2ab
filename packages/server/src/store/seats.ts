/** A machine that fetched no packages for so long has left its seat (docs/decisions/052-package-seats.md). */
const SEAT_MS = 30 * 86_400_000;

/** Machines seen since then hold a seat. */
export function seatsSince(now: Date): string {
  return new Date(now.getTime() - SEAT_MS).toISOString();
}
