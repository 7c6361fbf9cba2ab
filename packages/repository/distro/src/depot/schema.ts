import { BuildId, EffectiveVersion, FixSummary, Line, ObjectName, Release, Sha256, Timestamp } from '@kmend/protocol';
import * as z from 'zod';

const PackageName = z
  .string()
  .max(200)
  .regex(/^[a-z0-9][a-z0-9.+-]+$/);

/** `<position>.<revision>`, or `<serial>.<revision>` of a cumulative livepatch. */
const PackageVersion = z.string().regex(/^[1-9]\d*\.[1-9]\d*$/);

/** One package at one version. */
export const PackageId = z.object({ package: PackageName, version: PackageVersion });
export type PackageId = z.infer<typeof PackageId>;

export const EntryFunction = z.object({ object: ObjectName, name: z.string().max(511), sympos: z.int().min(0) });
export type EntryFunction = z.infer<typeof EntryFunction>;

/** A livepatch that was taken into the depot: one package, for good. Its bytes never change. */
export const Entry = PackageId.extend({
  kind: z.enum(['stacked', 'cumulative']),
  /** Order within the kernel; a cumulative one's: that of the newest fix it holds. */
  position: z.int().min(1),
  /** Of the livepatch: 12 hex digits. */
  id: z.string().regex(/^[0-9a-f]{12}$/),
  module: ObjectName,
  sha256: Sha256,
  size: z.int().min(1),
  fixes: z.array(FixSummary).min(1).max(5000),
  functions: z.array(EntryFunction),
  effectiveVersion: EffectiveVersion.optional(),
  /** Fix id to SHA-256 of its patch. */
  patches: z.record(z.string(), Sha256),
  /** Modules that must be enabled before it: those whose changes it holds again. */
  on: z.array(ObjectName),
  /** The livepatch directly below it; its package depends on that. */
  below: PackageId.optional(),
  /** Of a cumulative one: packages that are of no use beside it, up to these versions. */
  replaces: z.array(PackageId),
  /** APT is told to remove those in the same run; else they stay until unused packages are removed. */
  takesOut: z.boolean(),
  /** How many functions it covers that something below it covers too. */
  overlaps: z.int().min(0),
  /** When it was taken in. */
  at: Timestamp,
  /** Why it was accepted although less of its code ran in its proof than the operator requires. */
  reason: Line.optional(),
  withdrawn: z.boolean().default(false),
});
export type Entry = z.infer<typeof Entry>;

/** What the metapackage of a kernel said at one time: its version is the serial. */
export const State = z.object({
  serial: z.int().min(1),
  at: Timestamp,
  /** The newest package of the kernel; absent where all was withdrawn. */
  head: PackageId.optional(),
  /** Without a head: the kernel has every fix that is published, and its hosts are fine without a livepatch. */
  notNeeded: z.literal(true).optional(),
  /** The head that a later state took back: this state is not published any more. */
  withdrawn: z.boolean().default(false),
  /**
   * Percentage of hosts that take it by themselves (APT's phased updates); 0: those alone that follow the suite
   * `early`; absent: all.
   */
  phase: z.int().min(0).max(99).optional(),
});
export type State = z.infer<typeof State>;

export const DepotKernel = z.object({
  buildId: BuildId,
  release: Release,
  version: z.string().max(64),
  /** In the order in which they were taken in. */
  entries: z.array(Entry),
  /** Oldest first. */
  states: z.array(State),
});
export type DepotKernel = z.infer<typeof DepotKernel>;

export const LoaderRevision = z.object({
  version: z.string().max(32),
  revision: z.int().min(1),
  /** Of all that goes into it. */
  sha256: Sha256,
  at: Timestamp,
});
export type LoaderRevision = z.infer<typeof LoaderRevision>;

/** What the package that follows a flavour said at one time. */
export const FollowerState = z.object({
  package: PackageName,
  serial: z.int().min(1),
  /** Of all that it asks for. */
  sha256: Sha256,
  at: Timestamp,
});
export type FollowerState = z.infer<typeof FollowerState>;

export const PackageKey = z.object({
  fingerprint: z.string().regex(/^[0-9A-F]{40}$/),
  /** OpenPGP, binary. */
  publicKey: z.base64(),
});
export type PackageKey = z.infer<typeof PackageKey>;

/** `depot.json` */
export const DepotFile = z.object({
  schema: z.literal('kmend.depot/1'),
  kernels: z.array(DepotKernel),
  /**
   * The loader's package at each of its revisions, oldest first: a new one each time that its files change and its
   * version does not.
   */
  loaders: z.array(LoaderRevision).default([]),
  /** Of all flavours, in the order in which they were first said. */
  followers: z.array(FollowerState).default([]),
  /** Keys that packages were signed with, oldest first. */
  keys: z.array(PackageKey).default([]),
});
export type DepotFile = z.infer<typeof DepotFile>;
