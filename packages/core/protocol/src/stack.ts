import * as z from 'zod';
import { BuildId, Timestamp } from './values.ts';

/**
 * What the packages' loader says: `kmend-livepatch status --json` and `measure --json` (docs/packages.md), and what a
 * host's report makes of it. Bounded: one who reads them does so as root. A later loader may say more.
 */
const Code = z
  .string()
  .max(64)
  .regex(/^[a-z]+(-[a-z]+)*$/);
const Module = z.string().regex(/^kmend_[0-9a-f]{12}$/);
const Package = z.string().max(300);
const Words = z.string().max(4000);
const Kind = z.enum(['stacked', 'cumulative']);
const MOST = 1000;

export const LivepatchStatus = z.object({
  schema: z.literal('kmend.livepatch-status/1'),
  release: z.string().max(200),
  buildId: BuildId,
  /** How the last run ended; `null` before the first one. */
  outcome: z.object({ code: Code, text: Words, at: Timestamp }).nullable(),
  /** A person's word. `stay`: what runs stays; `out`: nothing is loaded. */
  hold: z.enum(['stay', 'out']).nullable(),
  /** The agent drives this host, for good or in this boot. */
  yielded: z.boolean(),
  switchedOff: Words.nullable(),
  /** False where /var could not be written: the outcome is gone with the boot. */
  saved: z.boolean(),
  /** Of the packages, enabled; by position. */
  inForce: z
    .array(
      z.object({
        module: Module,
        package: Package.nullable(),
        version: Package.nullable(),
        kind: Kind.nullable(),
        position: z.int().nullable(),
        phase: z.enum(['loading', 'transition', 'soak', 'good', 'reverting', 'unknown']),
        /** False: its package was removed, or holds another one now. */
        installed: z.boolean(),
        transitionSeconds: z.number().nullable(),
        fixes: z.array(z.object({ id: z.string().max(200), title: Words })).max(20_000),
      }),
    )
    .max(MOST),
  /** For this kernel; `code`: what was said of it in the last run. */
  installed: z
    .array(
      z.object({
        package: Package,
        version: Package,
        kind: Kind,
        position: z.int(),
        module: Module,
        inForce: z.boolean(),
        code: Code.nullable(),
      }),
    )
    .max(MOST),
  /** Installed for this kernel, and cannot even be read. */
  unusable: z.array(z.object({ package: Package, code: Code })).max(MOST),
  /** Packages for other kernels. */
  otherKernels: z.int(),
  /** Its publisher's signed word: this kernel needs no livepatch yet. Absent: of an earlier loader. */
  notNeeded: z.boolean().optional(),
  /** The kernel that a reboot brings, and what is on disk for it; `null`: the one that runs. */
  next: z
    .object({ release: z.string().max(200), livepatches: z.int().min(0), notNeeded: z.boolean() })
    .nullable()
    .optional(),
  problems: z.array(z.object({ code: Code, subject: Package, text: Words, hint: Words })).max(MOST),
  /** No fault yet. */
  warnings: z.array(z.object({ code: Code, text: Words, hint: Words })).max(MOST),
  quarantined: z.array(z.object({ module: Module, code: Code, at: Timestamp, text: Words })).max(MOST),
  /** The kernel's words of the last refusal. */
  kernelLog: z.array(Words).max(MOST),
  exitCode: z.int().min(0).max(5),
});
export type LivepatchStatus = z.infer<typeof LivepatchStatus>;

export const LivepatchMeasure = z.object({
  schema: z.literal('kmend.livepatch-measure/1'),
  depth: z.int().min(0),
  functions: z.int().min(0),
  functionsCoveredSeveralTimes: z.int().min(0),
  memoryBytes: z.int().min(0),
  livepatches: z
    .array(z.object({ module: Module, memoryBytes: z.int().min(0), transitionSeconds: z.number().nullable() }))
    .max(MOST),
});
export type LivepatchMeasure = z.infer<typeof LivepatchMeasure>;

/** Who drives a host: the agent with one cumulative livepatch, or its packages. */
export const Strategy = z.enum(['persistent', 'temporary']);
export type Strategy = z.infer<typeof Strategy>;

/** What packages do on a host that has their loader; part of a report. */
export const HostStack = z.object({
  strategy: Strategy,
  /** How many livepatches the packages have in the kernel. */
  depth: z.int().min(0),
  functionsCoveredSeveralTimes: z.int().min(0),
  memoryBytes: z.int().min(0),
  /** The loader's own code and words, of its last run; `null` before that. */
  outcome: z.object({ code: Code, text: z.string().max(500) }).nullable(),
  /**
   * As `kmend-livepatch status` ends: 0 everything installed is in force, 1 nothing is, 2 something is not, 3 nothing
   * is installed.
   */
  exitCode: z.int().min(0).max(5),
  /** Why the stack should be consolidated; `null`: it is not deep. */
  warning: z.string().max(500).nullable(),
  /** Bottom first. */
  livepatches: z
    .array(
      z.object({
        module: Module,
        package: Package.nullable(),
        /** Ids, the first hundred of a cumulative one. */
        fixes: z.array(z.string().max(200)).max(100),
        /** For every task. */
        inForce: z.boolean(),
      }),
    )
    .max(64),
});
export type HostStack = z.infer<typeof HostStack>;
