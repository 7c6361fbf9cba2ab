import { join } from 'node:path';
import { writeFileAtomic } from '@kmend/base/node';
import { type BuiltLivepatch, type ProofRequest, proveLivepatch } from '@kmend/lab';
import { PROOF_FILE, type Proof } from '@kmend/protocol';
import { readArtifact } from '@kmend/trust';
import type { Workshop } from '../workshop.ts';
import { openLab } from './open-lab.ts';

export interface ProofOrder extends Omit<ProofRequest, 'livepatch' | 'previous'> {
  /** Folder of the livepatch. */
  readonly directory: string;
  /** Folder of the cumulative livepatch that hosts run now. */
  readonly previous?: string | undefined;
}

export interface ProofRecord {
  /** Whether the livepatch passed is in it. */
  readonly proof: Proof;
  /** Where it was written: beside the livepatch. */
  readonly path: string;
}

/** Proves a livepatch on its kernel in the lab and keeps the record. */
export async function proveInLab(workshop: Workshop, order: ProofOrder): Promise<ProofRecord> {
  const { directory, previous, ...rest } = order;
  const livepatch = await open(directory);
  const request = { ...rest, livepatch, ...(previous !== undefined && { previous: await open(previous) }) };
  const kernel = await workshop.kernels.open(livepatch.manifest.kernel.buildId);
  await using lab = openLab(workshop);
  const proof = await proveLivepatch(lab, workshop.edges, kernel, request);
  const path = join(directory, PROOF_FILE);
  await writeFileAtomic(path, `${JSON.stringify(proof, null, 2)}\n`);
  return { proof, path };
}

async function open(directory: string): Promise<BuiltLivepatch> {
  const { livepatch, module } = await readArtifact(directory);
  return { manifest: livepatch, module };
}
