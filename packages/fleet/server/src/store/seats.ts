/** A machine that fetched no packages for so long has left its seat (docs/decisions/052-package-seats.md). */
const SEAT_MS = 30 * 86_400_000;

/** Machines seen with packages since then hold a seat. */
export function seatsSince(now: Date): string {
  return new Date(now.getTime() - SEAT_MS).toISOString();
}

/**
 * An enrolled host without a word for so long has left its seat, unless the operator sets another time. It may come
 * back, and holds it again.
 */
export const HOST_SEAT_MS = 90 * 86_400_000;

/** Enrolled hosts heard of since then hold a seat. */
export function hostSeatsSince(now: Date, seatMs: number): string {
  return new Date(now.getTime() - seatMs).toISOString();
}
