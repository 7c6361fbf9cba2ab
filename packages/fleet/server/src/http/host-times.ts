import type { Clock } from '@kmend/base';
import { HOST_SEAT_MS } from '../store/seats.ts';

/** What the server makes of the time since it last heard of a host. */
export interface HostTimes {
  /** Seconds between the regular reports of a host; changes are reported at once besides. */
  readonly reportSeconds: number;
  /** Regular reports that may be missing before a host counts as silent. */
  readonly missedReports: number;
  /** Milliseconds without a word after which an enrolled host's seat is free. */
  readonly seatMs: number;
}

export const DEFAULT_TIMES: HostTimes = { reportSeconds: 86_400, missedReports: 2, seatMs: HOST_SEAT_MS };

/** A host whose report failed tries again within the hour, and hosts add jitter. */
const SLACK_MS = 3_600_000;

/** Hosts last heard of before this moment are silent. */
export function silentSince({ reportSeconds, missedReports }: HostTimes, clock: Clock): string {
  return new Date(clock.now().getTime() - missedReports * reportSeconds * 1000 - SLACK_MS).toISOString();
}
