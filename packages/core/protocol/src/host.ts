import * as z from 'zod';
import { HostStack } from './stack.ts';
import { BuildId, Channel, Hostname, Line, ObjectName, Release, Serial, Sha256, Timestamp } from './values.ts';

/** Id of a host: random, given by the server at enrolment. */
export const HostId = z.uuid();
export type HostId = z.infer<typeof HostId>;

/** A hardware flaw as the kernel reports it in `/sys/devices/system/cpu/vulnerabilities/<name>`. */
export const HardwareFlaw = z.object({ name: z.string().max(64), state: z.string().max(300) });

/** A kernel on a host's disk that a reboot would bring: newer than the one that runs, e.g. after `apt upgrade`. */
export const PendingKernel = z.object({
  release: Release,
  /** `null`: its image does not tell. */
  buildId: BuildId.nullable(),
  /** Serial of the livepatch that this host holds ready for it; `null`: none. */
  serial: Serial.nullable(),
});
export type PendingKernel = z.infer<typeof PendingKernel>;

export const HostFacts = z.object({
  hostname: Hostname,
  machineArch: z.string().max(16),
  osRelease: Line,
  kernel: z.object({ release: Release, buildId: BuildId, version: Line }),
  bootId: z.uuid(),
  bootedAt: Timestamp,
  agentVersion: z.string().max(32),
  hardwareFlaws: z.array(HardwareFlaw).max(64),
  microcode: z.string().max(32).nullable(),
  /**
   * Names the machine without telling its id: HMAC-SHA256 of /etc/machine-id (machine-id(5)), lower-case hex. Two of
   * them under one host id are clones of one image. `null`: the machine has no id. Absent: an agent that does not tell.
   */
  machineId: Sha256.nullable().optional(),
  /** `null`: a reboot brings no other kernel. Absent: an agent that does not tell. */
  pendingKernel: PendingKernel.nullable().optional(),
});
export type HostFacts = z.infer<typeof HostFacts>;

/** A livepatch as the kernel shows it in `/sys/kernel/livepatch/<name>/`; kmend's own carry their serial and id. */
export const LoadedLivepatch = z.object({
  name: ObjectName,
  enabled: z.boolean(),
  transition: z.boolean(),
  /** `null` for a livepatch that is not kmend's, or that kmend no longer knows. */
  serial: Serial.nullable(),
  objects: z.array(z.object({ name: ObjectName, patched: z.boolean() })).max(2000),
});
export type LoadedLivepatch = z.infer<typeof LoadedLivepatch>;

/**
 * Five separate axes; each says only what was seen, with the time it was seen. `unknown` wherever it was not.
 * - contact: did the last check reach a valid repository
 * - coverage: does the repository cover this kernel, and is there something newer than what is loaded
 * - loaded: is a livepatch of kmend enabled
 * - transition: has the kernel moved every task to it (while it has not, the host counts as unprotected)
 * - verified: did the loaded module's bytes match the signed repository, on this host, this boot
 */
export const Axis = z.object({
  state: z.string().max(32),
  since: Timestamp.nullable(),
  /** When it was last observed; `null`: never. */
  seen: Timestamp.nullable(),
  detail: z.string().max(1000).optional(),
});
export const HostStatus = z.object({
  contact: Axis.extend({ state: z.enum(['ok', 'unreachable', 'untrusted', 'unknown']) }),
  coverage: Axis.extend({ state: z.enum(['current', 'behind', 'not-covered', 'unknown']) }),
  loaded: Axis.extend({ state: z.enum(['loaded', 'none', 'failed', 'unknown']) }),
  transition: Axis.extend({ state: z.enum(['complete', 'in-transition', 'none', 'unknown']) }),
  verified: Axis.extend({ state: z.enum(['verified', 'unverified', 'none', 'unknown']) }),
});
export type HostStatus = z.infer<typeof HostStatus>;

/** Something that happened on the host, kept in the agent's journal and sent with the next report. */
export const HostEvent = z.object({
  at: Timestamp,
  /** Stable code, e.g. `load-started`, `transition-complete`, `load-failed`, `quarantined`, `reverted`. */
  code: z.string().max(64),
  message: z.string().max(2000),
  serial: Serial.optional(),
});
export type HostEvent = z.infer<typeof HostEvent>;

/** A task that has not moved over to a transition's target yet, as /proc shows it. */
export const Blocker = z.object({
  pid: z.int().min(0),
  tid: z.int().min(0),
  name: z.string().max(64),
  /** Kernel functions on its stack, innermost first; empty where the kernel does not tell. */
  stack: z.array(z.string().max(512)).max(64),
});
export type Blocker = z.infer<typeof Blocker>;

/** Why a host is not where the policy wants it, as the host itself sees it. */
export const HostTrouble = z.object({
  /** Why it does nothing although it could; a reason of the agent's decision. */
  reason: z.string().max(64).nullable(),
  /** What stood in the way of the last load, with the way out. */
  problem: z
    .object({ code: z.string().max(64), message: z.string().max(2000), hint: z.string().max(500).optional() })
    .nullable(),
  /** A person's hold on that host. */
  hold: z.string().max(500).nullable(),
  quarantined: z.array(z.object({ serial: Serial, code: z.string().max(64), reason: z.string().max(2000) })).max(100),
  /** Tasks that hold the transition up. */
  blockers: z.array(Blocker).max(32),
});
export type HostTrouble = z.infer<typeof HostTrouble>;

export const Report = z.object({
  schema: z.literal('kmend.report/1'),
  at: Timestamp,
  /** Counts up for each report of this host; the server ignores older ones. */
  sequence: z.int().min(1),
  channel: Channel,
  facts: HostFacts,
  status: HostStatus,
  livepatches: z.array(LoadedLivepatch).max(64),
  effectiveSerial: Serial.nullable(),
  trouble: HostTrouble.optional(),
  /** Absent: no packages' loader on that host. */
  stack: HostStack.optional(),
  events: z.array(HostEvent).max(500),
});
export type Report = z.infer<typeof Report>;

/** Bytes of a report that the server takes over the network, as JSON: some ten times what a busy host says. */
export const MAX_REPORT = 2 ** 20;

/**
 * A report that is carried to the server by hand: what `kmend-agent check --report FILE` writes and `kmend host import`
 * takes.
 */
export const ReportFile = z.object({ schema: z.literal('kmend.report-file/1'), hostId: HostId, report: Report });
export type ReportFile = z.infer<typeof ReportFile>;
