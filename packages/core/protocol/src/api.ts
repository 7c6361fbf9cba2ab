import * as z from 'zod';
import { HostEvent, HostFacts, HostId, HostStatus, HostTrouble, LoadedLivepatch, PendingKernel } from './host.ts';

import { FixSummary, LivepatchTarget } from './livepatch.ts';
import { ChannelPolicy, FleetPolicy, KernelPolicy } from './policy.ts';
import { HostStack } from './stack.ts';
import { BuildId, Channel, Line, Release, Serial, Sha256, Timestamp } from './values.ts';

/** Body of every error answer: the same code and text that CLI, logs and metrics use. */
export const ApiError = z.object({
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }),
});
export type ApiError = z.infer<typeof ApiError>;

/** `POST /v1/enrol`: an activation key buys a seat. */
export const EnrolRequest = z.object({ activationKey: z.string().min(8).max(200), facts: HostFacts });
export type EnrolRequest = z.infer<typeof EnrolRequest>;
export const EnrolResponse = z.object({
  hostId: HostId,
  /** Bearer token for reports; shown once, kept hashed on the server. */
  token: z.string(),
  channel: Channel,
});
export type EnrolResponse = z.infer<typeof EnrolResponse>;

/** `POST /v1/reports` answers with what the host should know at once. */
export const ReportResponse = z.object({
  /** Seconds until the next regular report. */
  nextReportSeconds: z
    .int()
    .min(60)
    .max(7 * 86_400),
  channel: Channel,
  /**
   * Number above which the host counts on. Above the one just sent: that report was not taken, as the server has a
   * newer one or another one with the same number: the host's own count was set back (a restored backup, a virtual
   * machine that went back to a snapshot).
   */
  newest: z.int().min(0).optional(),
});
export type ReportResponse = z.infer<typeof ReportResponse>;

/** `POST /v1/keys`, `GET /v1/keys` (operator). */
export const CreateKeyRequest = z.object({
  name: Line.min(1),
  channel: Channel.default('stable'),
  /** How many hosts may enrol with it; `null`: no limit. */
  seats: z.int().min(1).nullable().default(null),
  expires: Timestamp.nullable().default(null),
});
export const ActivationKey = z.object({
  id: z.uuid(),
  name: Line,
  channel: Channel,
  seats: z.int().nullable(),
  used: z.int(),
  expires: Timestamp.nullable(),
  revoked: z.boolean(),
  created: Timestamp,
});
export type ActivationKey = z.infer<typeof ActivationKey>;
export type CreateKeyRequest = z.infer<typeof CreateKeyRequest>;
export const KeyList = z.object({ keys: z.array(ActivationKey) });
export type KeyList = z.infer<typeof KeyList>;
/** The key itself, shown once. `POST /v1/keys/:id/revoke` answers with an `ActivationKey`. */
export const CreateKeyResponse = ActivationKey.extend({ key: z.string() });
export type CreateKeyResponse = z.infer<typeof CreateKeyResponse>;

/** Another machine that reports under the identity of a host: a clone of its image, or a thief of its token. */
export const HostMachine = z.object({
  machineId: Sha256.nullable(),
  bootId: z.uuid(),
  hostname: z.string(),
  release: Release,
  effectiveSerial: Serial.nullable(),
  lastReport: Timestamp,
});
export type HostMachine = z.infer<typeof HostMachine>;

/**
 * Whether the server still hears of a host, which its `status` cannot say:
 * - reporting: it reported of late
 * - never: it enrolled of late and has not reported yet
 * - silent: several reports of it are overdue; what it said last is no longer known to be so
 * - replaced: its machine enrolled again and reports as another host
 */
export const HostPresence = z.enum(['reporting', 'never', 'silent', 'replaced']);
export type HostPresence = z.infer<typeof HostPresence>;

/** `GET /v1/hosts`, `GET /v1/hosts/:id` (operator). */
export const HostSummary = z.object({
  id: HostId,
  hostname: z.string(),
  release: Release,
  buildId: BuildId,
  channel: Channel,
  status: HostStatus,
  effectiveSerial: Serial.nullable(),
  enrolled: Timestamp,
  lastReport: Timestamp.nullable(),
  presence: HostPresence.optional(),
  /** The signed policy says that its kernel needs no livepatch yet, and it has none. */
  noneNeeded: z.boolean().optional(),
  /** As the host last told; `null`: a reboot brings no other kernel; absent: its agent does not tell. */
  pendingKernel: PendingKernel.nullable().optional(),
  /** Absent: none. */
  otherMachines: z.array(HostMachine).optional(),
});
export type HostSummary = z.infer<typeof HostSummary>;
export const HostDetail = HostSummary.extend({
  facts: HostFacts,
  livepatches: z.array(LoadedLivepatch),
  /** Why it is not where the policy wants it; `null` where its agent has not told. */
  trouble: HostTrouble.nullable(),
  /** What packages do there; `null` where nothing of them was told. */
  stack: HostStack.nullable(),
  events: z.array(HostEvent),
  /**
   * When a report was last refused because its number is far above the one before (`kmend host reset`); `null`: never.
   */
  refused: Timestamp.nullable().optional(),
});
export type HostDetail = z.infer<typeof HostDetail>;
export const HostPage = z.object({ hosts: z.array(HostSummary), total: z.int(), next: z.string().nullable() });
export type HostPage = z.infer<typeof HostPage>;
/** `POST /v1/hosts/reports` (operator) takes a `ReportFile`, carried by hand from a host without a network. */
export const ImportReportResponse = z.object({
  /** False: the server had this report or a newer one already, and nothing changed. */
  stored: z.boolean(),
  /** Sequence of the newest report that the server now has of the host. */
  newest: z.int().min(0),
  /** Its number belongs to another report of the same boot: it was not taken. The host has to write a new one. */
  numberUsed: z.boolean().optional(),
});
export type ImportReportResponse = z.infer<typeof ImportReportResponse>;
/** Longest cursor: an id and a name of 253 characters of three bytes, as servers before took it, in base64url. */
const MAX_CURSOR = 1100;
/** Query of `GET /v1/hosts`: `after` is the `next` of the page before; `search` is part of a host name. */
export const HostQuery = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  after: z.string().max(MAX_CURSOR).optional(),
  search: z.string().max(253).optional(),
});
export type HostQuery = z.input<typeof HostQuery>;

/**
 * Publishing (operator). Signed on the operator's machine; the server takes files by content, then the metadata that
 * names them, checks every signature and version, and signs only snapshot, timestamp and policy itself.
 * `PUT /v1/uploads/<sha256>` raw bytes, then `POST /v1/publish`.
 */
export const PublishRequest = z.object({
  /** Signed metadata files, as text: role name to file. `targets` only where a delegation was added. */
  metadata: z.record(z.string().max(100), z.string().max(4_000_000)),
  /** Target path to the SHA-256 of an uploaded file. */
  targets: z.record(z.string().max(300), Sha256),
  buildId: BuildId,
  serial: Serial,
  /** Where it goes at once: the channel's settled livepatch. Staged rollouts come from policy. */
  channel: Channel,
});
export type PublishRequest = z.infer<typeof PublishRequest>;
export const PublishResponse = z.object({ serial: Serial, snapshotVersion: z.int(), timestampVersion: z.int() });
export type PublishResponse = z.infer<typeof PublishResponse>;

/** Ed25519 public key as TUF metadata lists it (specification 1.0.34, section 4.2). */
export const PublicKey = z.object({
  keytype: z.literal('ed25519'),
  scheme: z.literal('ed25519'),
  keyval: z.object({ public: z.string().regex(/^[0-9a-f]{64}$/) }),
});
export type PublicKey = z.infer<typeof PublicKey>;

/** Roles that the server signs itself. */
export const OnlineRole = z.enum(['snapshot', 'timestamp', 'policy']);
export type OnlineRole = z.infer<typeof OnlineRole>;

/**
 * `POST /v1/signing-keys` (operator): the server makes keys that are to replace its own, and keeps them until a
 * rotation names them.
 */
export const NextKeysRequest = z.object({ roles: z.array(OnlineRole).min(1).max(3) });
export type NextKeysRequest = z.infer<typeof NextKeysRequest>;
export const NextKeysResponse = z.object({ keys: z.partialRecord(OnlineRole, PublicKey) });
export type NextKeysResponse = z.infer<typeof NextKeysResponse>;

/**
 * `POST /v1/rotate` (operator): offline roles signed again, as text by role name, with a later expiry, other keys,
 * another floor, or without livepatches that are dropped.
 */
export const RotateRequest = z.object({
  metadata: z.record(z.string().max(100), z.string().max(4_000_000)),
  /** Why livepatches are dropped: hosts that have one revert it, and show this. */
  reason: Line.optional(),
});
export type RotateRequest = z.infer<typeof RotateRequest>;
export const RotateResponse = PublishResponse.omit({ serial: true });
export type RotateResponse = z.infer<typeof RotateResponse>;

/** `GET /v1/livepatches` (operator). */
export const PublishedLivepatch = LivepatchTarget.extend({
  buildId: BuildId,
  release: Release,
  published: Timestamp,
  fixes: z.array(FixSummary),
});
export type PublishedLivepatch = z.infer<typeof PublishedLivepatch>;
export const LivepatchList = z.object({ livepatches: z.array(PublishedLivepatch) });
export type LivepatchList = z.infer<typeof LivepatchList>;

/** `PUT /v1/uploads/<sha256>` answers with what the server now holds. */
export const UploadResponse = z.object({ sha256: Sha256, size: z.int() });
export type UploadResponse = z.infer<typeof UploadResponse>;

/** `GET` and `PUT /v1/policy/fleet` (operator): only what is given changes. */
export const ChangeFleetPolicy = FleetPolicy.pick({
  checkIntervalSeconds: true,
  halted: true,
  consolidate: true,
}).partial();
export type ChangeFleetPolicy = z.infer<typeof ChangeFleetPolicy>;

/** `GET` and `PUT /v1/policy/kernels/<build-id>` (operator): only what is given changes; withdrawals are added. */
export const ChangeKernelPolicy = z.object({
  channels: z.partialRecord(Channel, ChannelPolicy).optional(),
  withdraw: KernelPolicy.shape.withdrawn.optional(),
  /** Serials that are no longer withdrawn. */
  restore: z.array(Serial).max(10_000).optional(),
});
export type ChangeKernelPolicy = z.infer<typeof ChangeKernelPolicy>;
