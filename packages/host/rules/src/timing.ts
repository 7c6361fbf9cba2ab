/**
 * How long things may take, in seconds. The host's owner may set `soak` and `transitionLimit` (0: no limit) otherwise.
 */
export const timing = {
  /** A livepatch is watched for so long after it came into force; then it is trusted. */
  soak: 900,
  /** A transition that takes longer is taken back: docs/decisions/027-transition-limit.md. */
  transitionLimit: 900,
  /** Pause before the first new try of a transition that was taken back; it doubles with each. */
  firstPause: 900,
  longestPause: 6 * 3600,
  /** `insmod` may take so long; then it is killed. The kernel may hold it forever. */
  insmod: 60,
  /** The agent reports a transition that takes longer as stuck, and keeps waiting. */
  stuckAfter: 60,
  /** The kernel may take so long to release a replaced module. The agent waits in the background. */
  unload: 30,
  /** What differs where a package manager, or a boot, waits for the packages' loader. */
  packages: {
    unload: 10,
    /** One run waits for a transition; the retry timer follows the rest. */
    transitionWait: 60,
    /** The same in a boot, where the network waits for it. */
    bootTransitionWait: 30,
    /** A run begins nothing new after this; a boot's run: `bootDeadline`. */
    deadline: 600,
    bootDeadline: 120,
    /** How long it waits for another run; for the package manager: `packageLock`. At a shutdown: `shutdownLock`. */
    lock: 60,
    packageLock: 120,
    shutdownLock: 20,
  },
} as const;

/**
 * Seconds until a transition that was taken back `tries` times (1 or more) is tried again: doubling, up to
 * `longestPause`.
 */
export function retryAfter(tries: number): number {
  return Math.min(timing.longestPause, timing.firstPause * 2 ** (tries - 1));
}

/** Whether a transition is to be taken back. Both in one unit; a `limit` of 0: never. */
export function isOverdue(elapsed: number, limit: number): boolean {
  return limit > 0 && elapsed >= limit;
}

/** Whether a livepatch came through its soak. Both in one unit. */
export function isSoaked(elapsed: number, soak: number): boolean {
  return elapsed >= soak;
}
