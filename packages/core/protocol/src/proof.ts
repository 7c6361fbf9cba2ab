import * as z from 'zod';
import { PatchedFunction } from './livepatch.ts';
import { SystemContents } from './system.ts';
import { BuildId, FixId, ObjectName, Release, Sha256, Timestamp } from './values.ts';

/** Where a proof lies, beside `livepatch.json`. */
export const PROOF_FILE = 'proof.json';

/** The steps of a proof, in their order (docs/builder.md, "The proof in the lab"). */
export const ProofStepName = z.enum([
  'boot',
  'before',
  'load',
  'modules-after',
  'after',
  'exercise',
  'revert',
  'reverted',
  'load-again',
  'replace',
  'workload',
  'rounds',
  'kernel-log',
]);
export type ProofStepName = z.infer<typeof ProofStepName>;

/**
 * Steps that nothing excuses. The others need something to be made with: a reproducer, a patched module, an earlier
 * livepatch.
 */
const NEEDED: readonly ProofStepName[] = ['boot', 'load', 'revert', 'load-again', 'workload', 'rounds', 'kernel-log'];

/** Lines for people: what was seen, why it failed, or why it was not made. */
const Details = z.array(z.string().max(4000)).max(1000);

export const ProofStep = z.object({
  name: ProofStepName,
  outcome: z.enum(['passed', 'failed', 'not-made']),
  seconds: z.number().min(0),
  details: Details,
});
export type ProofStep = z.infer<typeof ProofStep>;

/** Memory that each load and revert kept, by the rounds' samples. All in bytes. */
export const ProofMemory = z.object({
  /** Rounds before the first sample, which fill caches for the first time. */
  warmUp: z.int().min(0),
  /** What the kernel had in use after each counted round; the first is from before them. */
  samples: z.array(z.int().min(0)).max(10_001),
  /** Growth a round. */
  slope: z.number(),
  /** The slope that is taken for a leak. */
  bound: z.number().positive(),
});
export type ProofMemory = z.infer<typeof ProofMemory>;

/** A replaced function, and how often its new code was called while the livepatch was in force. */
export const RanFunction = PatchedFunction.extend({
  object: ObjectName,
  /** Calls counted; `null` where the kernel takes no probe there. */
  count: z.int().min(0).nullable(),
  /** Whether its object was in memory while it was counted. */
  inMemory: z.boolean(),
});
export type RanFunction = z.infer<typeof RanFunction>;

/** Names of the steps, in order, of records from before the step `exercise`. */
const EARLIER = ProofStepName.options.filter((name) => name !== 'exercise').join();

/** `proof.json`: how one livepatch did on its kernel in the lab. Written whole, at the end. */
export const Proof = z
  .object({
    schema: z.literal('kmend.proof/1'),
    livepatch: z.object({ id: z.string().regex(/^[0-9a-f]{12}$/), module: ObjectName, sha256: Sha256 }),
    kernel: z.object({ buildId: BuildId, release: Release }),
    /** No step failed, and all that need no excuse were made. */
    passed: z.boolean(),
    /** Each step once, in order. */
    steps: z.array(ProofStep),
    /** What the steps did not show, and why: fixes without a reproducer, modules that could not be loaded. */
    notShown: Details,
    /** Every replaced function; absent in records of earlier versions, `null` where it did not come to the counting. */
    ran: z.array(RanFunction).max(100_000).nullable().optional(),
    /** The livepatch of the `replace` step. */
    previous: z.object({ id: z.string(), sha256: Sha256 }).nullable(),
    /** Fixes whose flaw was seen come, go and come back. */
    reproduced: z.array(FixId).max(5000),
    figures: z.object({
      transitions: z.int().min(0),
      longestTransitionSeconds: z.number().min(0).nullable(),
      rounds: z.int().min(0),
      memory: ProofMemory.nullable(),
    }),
    /** The guest. */
    lab: z.object({
      accelerator: z.enum(['kvm', 'tcg']),
      cpus: z.int().min(1),
      memoryMb: z.int().min(1),
      /** The Debian system that the kernel ran; absent in records of earlier versions. */
      root: SystemContents.optional(),
    }),
    made: Timestamp,
    prover: z.object({ name: z.literal('kmend'), version: z.string().max(32) }),
  })
  .refine(({ steps }) => [ProofStepName.options.join(), EARLIER].includes(steps.map(({ name }) => name).join()), {
    message: 'not every step once, in order',
    path: ['steps'],
  })
  .refine(({ passed, steps }) => passed === isProven(steps), { message: 'the steps say otherwise', path: ['passed'] });
export type Proof = z.infer<typeof Proof>;

/** Whether these steps make a proof. */
export function isProven(steps: readonly ProofStep[]): boolean {
  return steps.every(({ name, outcome }) => outcome === 'passed' || (outcome === 'not-made' && !NEEDED.includes(name)));
}

/** How many of a livepatch's replaced functions were seen to run; `undefined` where the record does not say. */
export interface RanShare {
  readonly ran: number;
  readonly of: number;
  /** 0 to 100, rounded down: what is below a threshold stays below it. */
  readonly percent: number;
}

export function ranShare({ ran }: Pick<Proof, 'ran'>): RanShare | undefined {
  if (ran === undefined || ran === null) return undefined;
  const some = ran.filter(({ count }) => count !== null && count > 0).length;
  // Nothing replaced (callbacks alone): nothing that did not run.
  return { ran: some, of: ran.length, percent: ran.length === 0 ? 100 : Math.floor((100 * some) / ran.length) };
}

/** Why a function is not among those that ran; `undefined` for one that did. */
export function whyNotRun({ count, inMemory }: RanFunction): string | undefined {
  if (count === null) return 'the kernel takes no probe there';
  if (count > 0) return undefined;
  return inMemory ? 'not called' : 'its module was not in memory';
}
