import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { type Livepatch, PROOF_FILE, Proof, ranShare, whyNotRun } from '@kmend/protocol';
import { TrustError } from '../error.ts';
import type { LivepatchArtifact, LocalFile } from './artifact.ts';

/** Functions that a message names. */
const MOST_NAMES = 10;

/** Percentage of the replaced functions that has to have run in a proof, where the operator names no other. */
export const MIN_RAN_PERCENT = 60;

/** What an operator asks of the proof of a livepatch, and with what excuse. */
export interface ProofDemand {
  /** Publish although there is no proof. One that failed, or belongs to another module, is refused all the same. */
  readonly unproven?: boolean;
  /** 0 to 100; default `MIN_RAN_PERCENT`. */
  readonly minRanPercent?: number;
  /** Why to publish although less ran, or although nothing is proven. */
  readonly reason?: string;
}

/**
 * The proof that `kmend prove` left beside a livepatch; `undefined` where there is none and `unproven` allows that.
 * Throws `livepatch-unproven`, `livepatch-unreadable` (malformed), `livepatch-proof-mismatch` (of another build),
 * `livepatch-proof-failed`: what is known to be bad is published in no case; and `livepatch-barely-ran` where too few
 * replaced functions ran and no reason is given.
 */
export async function readProof(
  directory: string,
  { livepatch }: LivepatchArtifact,
  demand: ProofDemand,
): Promise<LocalFile | undefined> {
  const path = join(directory, PROOF_FILE);
  if ((await stat(path).catch(() => undefined)) === undefined) {
    if (demand.unproven === true) return undefined;
    throw new TrustError('livepatch-unproven', `there is no proof that livepatch ${livepatch.id} works`, {
      hint: `make one with "kmend prove ${directory}", or publish with --unproven`,
    });
  }
  const text = await readFile(path).catch((cause: Error) => {
    throw new TrustError('livepatch-unreadable', `cannot read ${path}: ${cause.message}`, { cause });
  });
  const proof = parseProof(text, path);
  if (!isOf(proof, livepatch)) {
    throw new TrustError('livepatch-proof-mismatch', `${path} is the proof of another build`, {
      hint: `prove this one: "kmend prove ${directory}"`,
      details: { expected: livepatch.file?.sha256, actual: proof.livepatch.sha256 },
    });
  }
  if (!proof.passed) {
    const failed = proof.steps.find(({ outcome }) => outcome === 'failed')?.name;
    throw new TrustError('livepatch-proof-failed', `livepatch ${livepatch.id} failed its proof (step ${failed})`, {
      hint: `${path} says how; correct the fix, build and prove again`,
      details: { step: failed },
    });
  }
  requireRan(proof, directory, demand);
  return { path, sha256: sha256(text), size: text.length };
}

/** A proof says nothing about code that did not run while it was made. */
function requireRan(proof: Proof, directory: string, demand: ProofDemand): void {
  const wanted = demand.minRanPercent ?? MIN_RAN_PERCENT;
  if (wanted === 0 || demand.reason !== undefined) return;
  const share = ranShare(proof);
  if (share === undefined) {
    throw new TrustError(
      'livepatch-barely-ran',
      `the proof of livepatch ${proof.livepatch.id} does not count which functions ran: an earlier version of kmend made it`,
      { hint: `prove it again with "kmend prove ${directory}", or publish with --reason TEXT` },
    );
  }
  if (share.percent >= wanted) return;
  const idle = (proof.ran ?? []).filter((entry) => whyNotRun(entry) !== undefined);
  const names = idle.slice(0, MOST_NAMES).map(({ object, name }) => `${object}:${name}`);
  const more = idle.length > names.length ? ` and ${idle.length - names.length} more` : '';
  throw new TrustError(
    'livepatch-barely-ran',
    `${share.ran} of ${share.of} replaced functions ran in the proof of livepatch ${proof.livepatch.id}, less than ${wanted} %; not: ${names.join(', ')}${more}`,
    {
      hint: `give "kmend prove ${directory}" a --reproducer that calls them, or publish with --reason TEXT, which is recorded with the publication`,
      details: { ...share, wanted },
    },
  );
}

/** Parses `proof.json`. */
export function parseProof(text: Buffer, name: string): Proof {
  const parsed = Proof.safeParse(parseJson(text.toString()));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new TrustError('livepatch-unreadable', `${name} is not a proof: ${issue?.path.join('.')}: ${issue?.message}`, {
    cause: parsed.error,
    hint: 'prove the livepatch again with this version of kmend',
  });
}

/** Whether a proof is of this very module on this very kernel. */
export function isOf(proof: Proof, livepatch: Livepatch): boolean {
  return (
    proof.livepatch.sha256 === livepatch.file?.sha256 &&
    proof.livepatch.id === livepatch.id &&
    proof.kernel.buildId === livepatch.kernel.buildId
  );
}
