import type { Clock } from '@kmend/base';
import type { HostPresence } from '@kmend/protocol';
import { HOST_SEAT_MS } from './seats.ts';

/** What the server makes of the time since it last heard of a host. */
export interface HostTimes {
  /** Seconds between the regular reports of a host; changes are reported at once besides. */
  readonly reportSeconds: number;
  /** Regular reports that may be missing before a host counts as silent. */
  readonly missedReports: number;
  /** Milliseconds without a report after which an enrolled host's seat is free. */
  readonly seatMs: number;
}

export const DEFAULT_TIMES: HostTimes = { reportSeconds: 86_400, missedReports: 2, seatMs: HOST_SEAT_MS };

/** A host whose report failed tries again within the hour, and hosts add jitter. */
const SLACK_MS = 3_600_000;

/** Hosts last heard of before this moment are silent. */
export function silentSince({ reportSeconds, missedReports }: HostTimes, clock: Clock): string {
  return new Date(clock.now().getTime() - missedReports * reportSeconds * 1000 - SLACK_MS).toISOString();
}

/** What of a host decides whether it is present. */
export interface HeardOf {
  readonly enrolled: string;
  readonly lastReport: string | null;
  /** Host under which the same machine enrolled again. */
  readonly replacedBy: string | null;
}

export function presenceOf({ enrolled, lastReport, replacedBy }: HeardOf, silent: string): HostPresence {
  if (replacedBy !== null) return 'replaced';
  if ((lastReport ?? enrolled) < silent) return 'silent';
  return lastReport === null ? 'never' : 'reporting';
}

/** Reason of the agent's decision where the signed policy says that its kernel needs no livepatch yet. */
export const NONE_NEEDED = 'none-needed';

/** Whether a host without a livepatch is fine: its kernel needs none yet. */
export function isNoneNeeded(reason: string | null, effectiveSerial: number | null): boolean {
  return reason === NONE_NEEDED && effectiveSerial === null;
}

export const AXES = ['contact', 'coverage', 'loaded', 'transition', 'verified'] as const;
export type Axis = (typeof AXES)[number];

/** Hosts that say the same, counted. */
export interface HostGroup extends Readonly<Record<Axis, string>> {
  readonly isSilent: boolean;
  readonly isNoneNeeded: boolean;
  /** The release that a reboot brings: '' if it brings none, `null` if the agent does not report it. */
  readonly nextKernel: 'unknown' | 'newest' | 'waits-for-reboot';
  readonly hosts: number;
}

export interface AxisCount {
  readonly axis: Axis | 'kernel';
  readonly state: string;
  readonly hosts: number;
}

/** Axes on which a host without a livepatch is fine if none is needed. */
const PROTECTION: ReadonlySet<string> = new Set(['coverage', 'loaded'] satisfies Axis[]);

/**
 * Hosts by state, for each axis, and by whether a newer kernel waits for a reboot. A silent host is `silent` on every
 * axis: what it said last is no longer known to be so.
 */
export function countAxes(groups: readonly HostGroup[]): readonly AxisCount[] {
  const counts = new Map<string, AxisCount>();
  for (const group of groups) {
    for (const axis of [...AXES, 'kernel'] as const) {
      const state = stateOn(group, axis);
      const key = `${axis} ${state}`;
      counts.set(key, { axis, state, hosts: (counts.get(key)?.hosts ?? 0) + group.hosts });
    }
  }
  return [...counts.values()];
}

function stateOn(group: HostGroup, axis: Axis | 'kernel'): string {
  if (group.isSilent) return 'silent';
  if (group.isNoneNeeded && PROTECTION.has(axis)) return 'not-needed';
  return axis === 'kernel' ? group.nextKernel : group[axis];
}
