/** A longer pause is not obeyed: a broken proxy must not silence a host. Milliseconds. */
const MOST_MS = 3_600_000;

/** RFC 9110, 10.2.3: seconds, or a date. `undefined` where it is neither. Milliseconds, bounded. */
export function retryAfterMs(value: string | null | undefined, now: number): number | undefined {
  if (value === null || value === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.min(MOST_MS, Math.max(0, ms)) : undefined;
}

/** Whether that status may come with a pause (RFC 6585, 4; RFC 9110, 15.6.4). */
export function asksForPause(status: number | undefined): boolean {
  return status === 429 || status === 503;
}
