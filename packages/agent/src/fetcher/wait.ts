/** Milliseconds to the next check: the interval, give or take a fifth. */
export function jittered(seconds: number, random: number): number {
  return Math.round(seconds * 1000 * (0.8 + 0.4 * random));
}

const LEAST_SECONDS = 5;

/** Seconds until the next idle check: the interval, or sooner where the loader wants to look again (`wakeAt`, milliseconds since 1970). */
export function waitSeconds(
  { intervalSeconds, wakeAt, now }: { intervalSeconds: number; wakeAt: number | undefined; now: number },
  random: number,
): number {
  const woken = wakeAt === undefined || wakeAt <= now ? Number.POSITIVE_INFINITY : wakeAt - now + 1_000;
  return Math.max(LEAST_SECONDS, Math.ceil(Math.min(jittered(intervalSeconds, random), woken) / 1000));
}
