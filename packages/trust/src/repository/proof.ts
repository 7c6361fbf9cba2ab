import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { type Livepatch, PROOF_FILE, Proof } from '@kmend/protocol';
import { TrustError } from '../error.ts';
import type { LivepatchArtifact, LocalFile } from './artifact.ts';

/**
 * The proof that `kmend prove` left beside a livepatch; `undefined` where there is none and `unproven` allows that. Throws `livepatch-unproven`,
 * `livepatch-unreadable` (malformed), `livepatch-proof-mismatch` (of another build), `livepatch-proof-failed`: what is known to be bad is published
 * in no case.
 */
export async function readProof(
  directory: string,
  { livepatch }: LivepatchArtifact,
  unproven: boolean,
): Promise<LocalFile | undefined> {
  const path = join(directory, PROOF_FILE);
  if ((await stat(path).catch(() => undefined)) === undefined) {
    if (unproven) return undefined;
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
      hint: `${path} says how; mend the fix, build and prove again`,
      details: { step: failed },
    });
  }
  return { path, sha256: sha256(text), size: text.length };
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
