import { createHash } from 'node:crypto';
import * as z from 'zod';
import { BuildId, Channel, Line, Serial, Timestamp } from './values.ts';

/** `policy/fleet.json`: what holds for every host. */
export const FleetPolicy = z.object({
  schema: z.literal('kmend.fleet-policy/1'),
  /** Seconds between checks; hosts add jitter. */
  checkIntervalSeconds: z.int().min(10).max(86_400),
  /** Kill switch: while true no host loads anything new. */
  halted: z.boolean(),
  /**
   * Hosts whose packages have livepatches in force replace them by the cumulative one; absent: only where a person asks
   * for it.
   */
  consolidate: z.boolean().optional(),
  issued: Timestamp,
});
export type FleetPolicy = z.infer<typeof FleetPolicy>;

/** One livepatch going through a channel. */
export const Rollout = z.object({
  /** Salts the hosts' positions, so that each rollout meets another order of hosts. */
  id: z.string().min(1).max(64),
  serial: Serial,
  /** How many hosts of 10,000 may load it now. */
  permyriad: z.int().min(0).max(10_000),
});
export type Rollout = z.infer<typeof Rollout>;

export const ChannelPolicy = z.object({
  /** What hosts outside the rollout's share should have; `null`: nothing yet. */
  settled: Serial.nullable(),
  rollout: Rollout.nullable(),
  /**
   * Why nothing is settled: this kernel needs no livepatch yet (a fresh upload has every fix). Hosts then count as
   * protected without one. Absent, or with a serial settled: it says nothing.
   */
  noneNeeded: z.boolean().optional(),
});

export type ChannelPolicy = z.infer<typeof ChannelPolicy>;

/** `policy/<build-id>.json`: who gets what, for one kernel. */
export const KernelPolicy = z.object({
  schema: z.literal('kmend.kernel-policy/1'),
  buildId: BuildId,
  channels: z.partialRecord(Channel, ChannelPolicy),
  /** Serials that no host may load and that loaded hosts must replace or revert. */
  withdrawn: z.array(z.object({ serial: Serial, reason: Line })).max(10_000),
  issued: Timestamp,
});
export type KernelPolicy = z.infer<typeof KernelPolicy>;

/** A host's place in a rollout: an even, stable number from 0 to 9,999 for each pair of host and rollout. */
export function rolloutPosition(hostId: string, rolloutId: string): number {
  const digest = createHash('sha256').update(`${hostId}\n${rolloutId}`).digest();
  // 48 bits modulo 10,000: the bias is below one in 10^10.
  return digest.readUIntBE(0, 6) % 10_000;
}

/** Whether the operator says that a host of this channel needs no livepatch on this kernel yet. */
export function needsNone(policy: KernelPolicy, channel: Channel): boolean {
  const entry = policy.channels[channel];
  return entry !== undefined && entry.settled === null && entry.noneNeeded === true;
}

/**
 * The serial a host should run, by the signed policy alone: the rollout's where the host's position is inside its
 * share, else the settled one; never a withdrawn one. `null`: none (revert what is withdrawn, load nothing).
 */
export function chosenSerial(policy: KernelPolicy, channel: Channel, hostId: string): number | null {
  const entry = policy.channels[channel];
  if (entry === undefined) return null;
  const withdrawn = new Set(policy.withdrawn.map((item) => item.serial));
  const { rollout, settled } = entry;
  if (rollout !== null && !withdrawn.has(rollout.serial) && rolloutPosition(hostId, rollout.id) < rollout.permyriad) {
    return rollout.serial;
  }
  return settled !== null && !withdrawn.has(settled) ? settled : null;
}

/**
 * What the release key says of a kernel beside its livepatches: the field `kmend` of the kernel's signed role. The
 * policy key alone cannot change it.
 */
export const KernelTerms = z.object({
  /** Policy cannot keep hosts below this serial, nor withdraw it. */
  floor: Serial.optional(),
  /** The highest serial ever published: none is given twice, although livepatches were dropped. */
  lastSerial: Serial.optional(),
});
export type KernelTerms = z.infer<typeof KernelTerms>;

/**
 * A kernel's policy as far as the floor lets it be obeyed: hosts of every channel run the floor's serial or a later
 * one, whatever is settled, withdrawn or left out. `policy` is `undefined` where the repository has none; `published`:
 * what the kernel's role signs, the floor among it.
 */
export function aboveFloor(
  buildId: BuildId,
  policy: KernelPolicy | undefined,
  { floor, published }: { readonly floor: number; readonly published: ReadonlySet<number> },
): KernelPolicy {
  const withdrawn = (policy?.withdrawn ?? []).filter(({ serial }) => serial !== floor);
  const gone = new Set(withdrawn.map(({ serial }) => serial));
  const holds = (serial: number | null): serial is number =>
    serial !== null && serial >= floor && published.has(serial) && !gone.has(serial);
  const channel = (name: Channel) => {
    const { settled = null, rollout = null } = policy?.channels[name] ?? {};
    return {
      settled: holds(settled) ? settled : floor,
      rollout: rollout !== null && holds(rollout.serial) ? rollout : null,
    };
  };
  return {
    schema: 'kmend.kernel-policy/1',
    buildId,
    channels: Object.fromEntries(Channel.options.map((name) => [name, channel(name)])),
    withdrawn,
    issued: policy?.issued ?? new Date(0).toISOString(),
  };
}
