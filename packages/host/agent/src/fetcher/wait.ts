/** Milliseconds to the next check: the interval, give or take a fifth. */
export function jittered(seconds: number, random: number): number {
  return Math.round(seconds * 1000 * (0.8 + 0.4 * random));
}

const LEAST_SECONDS = 5;

/**
 * Seconds until the next idle check: the interval, or sooner where the loader wants to look again (`wakeAt`,
 * milliseconds since 1970); never sooner than the repository asked for (`pauseMs`), and not all hosts at once then.
 */
export function waitSeconds(
  {
    intervalSeconds,
    wakeAt,
    now,
    pauseMs = 0,
  }: { intervalSeconds: number; wakeAt: number | undefined; now: number; pauseMs?: number },
  random: number,
): number {
  const woken = wakeAt === undefined || wakeAt <= now ? Number.POSITIVE_INFINITY : wakeAt - now + 1_000;
  const pause = pauseMs * (1 + random / 5);
  return Math.max(LEAST_SECONDS, Math.ceil(Math.max(pause, Math.min(jittered(intervalSeconds, random), woken)) / 1000));
}
