import * as z from 'zod';
import { SystemContents } from './system.ts';
import { BuildId, FixId, Line, ObjectName, Release, Serial, Sha256 } from './values.ts';
import { VERDICT_CODES } from './verdict-codes.ts';

export const Severity = z.enum(['low', 'medium', 'high', 'critical', 'unknown']);
export type Severity = z.infer<typeof Severity>;

/** What a livepatch says of each fix in it. */
export const FixSummary = z.object({
  id: FixId,
  title: Line,
  severity: Severity,
  /** Mitigates a hardware flaw (Spectre-class). */
  hardware: z.boolean(),
});
export type FixSummary = z.infer<typeof FixSummary>;

export const Verdict = z.enum(['patchable', 'needs-review', 'refused']);
export type Verdict = z.infer<typeof Verdict>;

/** Why a verdict is not `patchable`, as this version says it. docs/builder.md explains the codes. */
export const VerdictReason = z.object({
  code: z.enum(VERDICT_CODES),
  verdict: z.enum(['needs-review', 'refused']),
  message: z.string().max(4000),
  fix: FixId.optional(),
  source: z.string().max(300).optional(),
  symbol: z.string().max(512).optional(),
});
export type VerdictReason = z.infer<typeof VerdictReason>;

/** The same in a manifest, which a newer builder may have made: it may know more codes. */
export const ToldReason = VerdictReason.extend({ code: z.string().max(64) });
export type ToldReason = z.infer<typeof ToldReason>;

export const PatchedFunction = z.object({
  name: z.string().max(511),
  /** Position among same-named symbols in kallsyms order; 0 where the name is unique. */
  sympos: z.int().min(0),
  source: z.string().max(300),
});

/** Code that fixes run around patching and unpatching (struct klp_callbacks), by the name its author gave it. */
export const PatchCallbacks = z.object({
  name: z.string().max(256),
  phases: z.array(z.enum(['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch'])).max(4),
  source: z.string().max(300),
});

export const PatchedObject = z.object({
  name: ObjectName,
  functions: z.array(PatchedFunction).max(10_000),
  callbacks: z.array(PatchCallbacks).max(1000).optional(),
});
export type PatchedObject = z.infer<typeof PatchedObject>;

/**
 * Version of the distribution's kernel whose security fixes are all in a livepatch: its maker's statement, which
 * scanners should use.
 */
export const EffectiveVersion = z
  .string()
  .max(64)
  .regex(/^[0-9][A-Za-z0-9.+~:-]*$/, 'not a version of a Debian package');

/** A replaced function that is not what the distribution's own fixed kernel has, and why, as far as it can be shown. */
export const FixedDifference = z.object({
  name: z.string().max(511),
  source: z.string().max(300),
  /** Version of the fixed kernel. */
  version: z.string().max(64),
  /**
   * `own-function`: further changes of its own text in that version; `own-file`: of other parts of its file;
   * `line-numbers`: nothing but `__LINE__`; `other-files`: `files` of the same upload that the fixes do not hold;
   * `unexplained`: no such files were found.
   */
  cause: z.enum(['own-function', 'own-file', 'line-numbers', 'other-files', 'unexplained']),
  /** With these as that version has them, the function is equal. */
  files: z.array(z.string().max(300)).max(200),
  message: z.string().max(2000),
});
export type FixedDifference = z.infer<typeof FixedDifference>;

/** The replaced functions beside those of the distribution's fixed kernels. */
export const FixedComparison = z.object({
  compared: z.int().min(0),
  equal: z.int().min(0),
  kernels: z.array(z.object({ version: z.string().max(64), release: Release, buildId: BuildId })).max(100),
  different: z.array(FixedDifference).max(10_000),
  /** What was not compared, and why. */
  notCompared: z.array(z.string().max(1000)).max(1000),
});
export type FixedComparison = z.infer<typeof FixedComparison>;

/** `livepatch.json`: what the builder says of one build. Reproducible: holds no time and no machine. */
export const Livepatch = z.object({
  schema: z.literal('kmend.livepatch/1'),
  /**
   * First 12 hex digits of the content: of the module's bytes, without name and signature (`moduleIdentity` of
   * @kmend/elf). Where no module was made, of what the manifest says.
   */
  id: z.string().regex(/^[0-9a-f]{12}$/),
  /** Name of the kernel module: `kmend_<id>`. */
  module: ObjectName,
  kind: z.enum(['cumulative', 'stacked']),
  /** Of a stacked livepatch: fixes below it whose changes it holds again, so that it may be loaded only behind them. */
  dependsOn: z.array(FixId).max(5000).optional(),
  kernel: z.object({
    buildId: BuildId,
    release: Release,
    version: z.string().max(64),
    arch: z.literal('x86_64'),
    /** Its operator built it herself; `version` is that of its source. */
    local: z.literal(true).optional(),
    /** Until when the archive's index was valid, where it was out of date and the operator accepted it. */
    indexExpired: z.string().max(100).optional(),
  }),
  fixes: z.array(FixSummary).min(1).max(5000),
  effectiveVersion: EffectiveVersion.optional(),
  verdict: Verdict,
  reasons: z.array(ToldReason).max(10_000),
  /** A person accepted the `needs-review` reasons at build time. */
  reviewAccepted: z.boolean(),
  objects: z.array(PatchedObject).max(2000),
  /**
   * C files of the fixes that this kernel is not built from: nothing of them is in the livepatch, nor in the kernel.
   */
  leftOut: z.array(z.string().max(300)).max(10_000).optional(),
  /**
   * Every unit that was compiled with and without the fixes, changed or not; absent in manifests of earlier builders.
   */
  units: z
    .array(z.object({ source: z.string().max(300), object: ObjectName }))
    .max(20_000)
    .optional(),
  /** Byte proof: functions of the touched units compared with the shipped kernel, and how many were equal. */
  byteProof: z.object({ compared: z.int().min(0), equal: z.int().min(0), different: z.array(z.string()).max(10_000) }),
  /** Absent where no fixed kernels were looked for, and where the verdict is `refused` for another reason. */
  fixedKernel: FixedComparison.optional(),
  /** The module beside this file; absent where the verdict is `refused` or waits for review. */
  file: z.object({ name: z.string().max(100), sha256: Sha256, size: z.int().min(1) }).optional(),
  /** How the module is signed for the kernel (include/linux/module_signature.h); absent where it is not. */
  signature: z
    .object({
      /** Common name of the certificate's subject. */
      signer: z.string().max(200),
      /** The certificate's serial number, lower-case hex: what the kernel finds the key by, with the issuer. */
      keyId: z.string().regex(/^[0-9a-f]{1,64}$/),
      hash: z.literal('sha256'),
      /** SHA-256 of the module as it was before. */
      unsigned: Sha256,
    })
    .optional(),
  inputs: z.object({
    /** Fix id to SHA-256 of its patch. */
    fixes: z.record(z.string(), Sha256),
    /** The same for the fixes that a stacked livepatch was built on. */
    on: z.record(z.string(), Sha256).optional(),
    config: Sha256,
    moduleSymvers: Sha256,
    vmlinux: Sha256,
    source: Sha256,
  }),
  compiler: z.string().max(200),
  /**
   * The Debian system that it was compiled in; absent where that was the builder's own, which had the very compiler.
   */
  buildRoot: SystemContents.optional(),
  builder: z.object({ name: z.literal('kmend'), version: z.string().max(32) }),
});
export type Livepatch = z.infer<typeof Livepatch>;

/** Custom field of a livepatch's TUF target: what a host needs to choose before it downloads. */
export const LivepatchTarget = z.object({
  serial: Serial,
  id: z.string().regex(/^[0-9a-f]{12}$/),
  module: ObjectName,
  kind: z.enum(['cumulative', 'stacked']),
  fixes: z.array(FixId).max(5000),
  /** Its proof is published beside it. */
  proven: z.boolean().default(false),
  /** Why it was published although it has no proof, or less of its code ran in the proof than the operator asks for. */
  reason: Line.optional(),
});
export type LivepatchTarget = z.infer<typeof LivepatchTarget>;
