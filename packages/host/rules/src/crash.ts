/** So often in a row a host may go down in a later soak of a trusted livepatch before that is held against it. */
export const mostCuts = 2;

/** What the packages' loader remembers at most: lines of its state. */
export const stateLimits = { good: 1000, trusted: 1000, quarantined: 200, problems: 200, bytes: 1024 * 1024 } as const;

/** A stack of more livepatches is told of (docs/strategies.md). The host's owner may set it otherwise; 0: never. */
export const deepStack = 20;

/** A load of the boot that ended without an orderly shutdown, as far as it was brought into force. */
export interface WatchedLoad {
  readonly module: string;
  readonly phase: 'loading' | 'transition' | 'soak' | 'reverting';
  /** It was good on this host before: it came through a soak, or ran until an orderly shutdown. */
  readonly wasGood: boolean;
  /** It came through a whole soak on this host before. */
  readonly isTrusted: boolean;
}

/**
 * Which loads a crash is held against, in the order of the loads: those on their way in or out; else those in their
 * first soak; else, of those that were good before, the upper half, so that a few boots find the one without taking all
 * protection away. Loads that came through a whole soak before are spared (`'counted'`) until `cuts`, the crashes in a
 * row that were counted so, reaches `mostCuts`: the plug was pulled in a rescue shell, or something else panicked.
 */
export function blamedForCrash(loads: readonly WatchedLoad[], cuts: number): readonly string[] | 'counted' {
  const isSure = (it: WatchedLoad): boolean =>
    (it.phase === 'soak' || it.phase === 'transition') && it.wasGood && it.isTrusted;
  const rest = loads.filter((it) => !isSure(it));
  const moving = rest.filter((it) => it.phase !== 'soak');
  if (moving.length > 0) return names(moving);
  const fresh = rest.filter((it) => !it.wasGood);
  if (fresh.length > 0) return names(fresh);
  if (rest.length > 0) return upperHalf(rest);
  const sure = loads.filter(isSure);
  return sure.length > 0 && cuts < mostCuts ? 'counted' : upperHalf(sure);
}

function upperHalf(loads: readonly WatchedLoad[]): readonly string[] {
  return names(loads.slice(Math.floor(loads.length / 2)));
}

function names(loads: readonly WatchedLoad[]): readonly string[] {
  return loads.map((it) => it.module);
}
