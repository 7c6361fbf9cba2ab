import type { Clock } from '@kmend/base';
import * as z from 'zod';
import { TrustError } from '../error.ts';
import { lifetimeMs } from '../metadata/signing.ts';

const Version = z.object({ version: z.int(), at: z.number() });

/** What a client remembers of its own clock beside what is signed. Times are milliseconds since 1970. */
export const Seen = z.object({
  /** When it first held this version of the role. */
  timestamp: Version,
  snapshot: Version,
  /** When it last asked for a newer root. */
  root: z.number(),
});
export type Seen = z.infer<typeof Seen>;

/** What metadata says of itself. */
export interface Dated {
  readonly version: number;
  readonly expires: Date;
}

export interface DatedState {
  readonly timestamp: Dated;
  readonly snapshot: Dated;
  readonly root: Dated;
  readonly targets: Dated;
}

const CAPPED = ['timestamp', 'snapshot'] as const;

/**
 * What is remembered once a state came from the network, given what was remembered before. A clock that was set back
 * counts from now.
 */
export function seeState(before: Seen | undefined, state: DatedState, clock: Clock): Seen {
  const now = clock.now().getTime();
  const since = (role: (typeof CAPPED)[number]) => {
    const { version } = state[role];
    const known = before?.[role];
    return { version, at: known?.version === version && known.at <= now ? known.at : now };
  };
  return { timestamp: since('timestamp'), snapshot: since('snapshot'), root: now };
}

/**
 * Until when a role that is signed again all the time counts: what it says, but no longer than its role may live,
 * counted from when this client first held it. A timestamp that was signed by a clock in the wrong year says that it
 * holds for years, and a mirror could withhold news as long (indefinite freeze).
 */
export function countsUntil(role: (typeof CAPPED)[number], { version, expires }: Dated, seen: Seen | undefined): Date {
  const known = seen?.[role];
  if (known?.version !== version) return expires;
  return new Date(Math.min(expires.getTime(), known.at + lifetimeMs(role)));
}

/** The earliest end of timestamp, snapshot, root and targets. */
export function stateCountsUntil(state: DatedState, seen: Seen | undefined): Date {
  const ends = [
    ...CAPPED.map((role) => countsUntil(role, state[role], seen)),
    state.root.expires,
    state.targets.expires,
  ];
  return new Date(Math.min(...ends.map((end) => end.getTime())));
}

/** Throws `repository-expired` where a role is held for longer than it may live, whatever it says of itself. */
export function refuseOverlong(state: DatedState, seen: Seen, clock: Clock): void {
  for (const role of CAPPED) {
    const { version, expires } = state[role];
    if (countsUntil(role, state[role], seen) > clock.now() || expires <= clock.now()) continue;
    const until = expires.toISOString();
    const since = new Date(seen[role].at).toISOString();
    throw new TrustError(
      'repository-expired',
      `${role} ${version} has been served since ${since}, longer than any may hold, although it says ${until}`,
      {
        hint: 'a clock that was ahead signed it, or newer ones are withheld: check that the patch server runs',
        details: { role, version, since, expires: until },
      },
    );
  }
}

/**
 * Time to ask for the next root although nothing else is new (specification 1.0.34, section 5.3): it can change alone.
 */
export function isRootDue(seen: Seen | undefined, intervalMs: number, clock: Clock): boolean {
  if (seen === undefined) return true;
  const since = clock.now().getTime() - seen.root;
  return since < 0 || since >= intervalMs;
}
