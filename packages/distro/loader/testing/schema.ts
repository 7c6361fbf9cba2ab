import * as z from 'zod';

/** What `status --json` and `measure --json` print: the contract with the console and with monitoring. */
const Code = z.string().regex(/^[a-z]+(-[a-z]+)*$/);
const Module = z.string().regex(/^kmend_[0-9a-f]{12}$/);
const Moment = z.iso.datetime();

export const LivepatchStatus = z.strictObject({
  schema: z.literal('kmend.livepatch-status/1'),
  release: z.string(),
  buildId: z.string().regex(/^[0-9a-f]{40}$/),
  /** How the last run ended; `null` before the first one. */
  outcome: z.strictObject({ code: Code, text: z.string(), at: Moment }).nullable(),
  /** A person's word. `stay`: what runs stays; `out`: nothing is loaded. */
  hold: z.enum(['stay', 'out']).nullable(),
  yielded: z.boolean(),
  switchedOff: z.string().nullable(),
  /** False where /var could not be written: the outcome is gone with the boot. */
  saved: z.boolean(),
  /** Of the packages, enabled; by position. */
  inForce: z.array(
    z.strictObject({
      module: Module,
      package: z.string().nullable(),
      version: z.string().nullable(),
      kind: z.enum(['stacked', 'cumulative']).nullable(),
      position: z.int().nullable(),
      phase: z.enum(['loading', 'transition', 'soak', 'good', 'reverting', 'unknown']),
      /** False: its package was removed, or holds another one now. */
      installed: z.boolean(),
      transitionSeconds: z.number().nullable(),
      fixes: z.array(z.strictObject({ id: z.string(), title: z.string() })),
    }),
  ),
  /** For this kernel; `code`: what was said of it in the last run. */
  installed: z.array(
    z.strictObject({
      package: z.string(),
      version: z.string(),
      kind: z.enum(['stacked', 'cumulative']),
      position: z.int(),
      module: Module,
      inForce: z.boolean(),
      code: Code.nullable(),
    }),
  ),
  /** Installed for this kernel, and cannot even be read. */
  unusable: z.array(z.strictObject({ package: z.string(), code: Code })),
  /** Packages for other kernels. */
  otherKernels: z.int(),
  problems: z.array(z.strictObject({ code: Code, subject: z.string(), text: z.string(), hint: z.string() })),
  /** No fault yet. */
  warnings: z.array(z.strictObject({ code: Code, text: z.string(), hint: z.string() })),
  quarantined: z.array(z.strictObject({ module: Module, code: Code, at: Moment, text: z.string() })),
  /** The kernel's words of the last refusal. */
  kernelLog: z.array(z.string()),
  exitCode: z.int().min(0).max(5),
});

export const LivepatchMeasure = z.strictObject({
  schema: z.literal('kmend.livepatch-measure/1'),
  depth: z.int(),
  functions: z.int(),
  functionsCoveredSeveralTimes: z.int(),
  memoryBytes: z.int(),
  livepatches: z.array(
    z.strictObject({ module: Module, memoryBytes: z.int(), transitionSeconds: z.number().nullable() }),
  ),
});
