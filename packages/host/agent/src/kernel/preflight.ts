import { KmendError } from '@kmend/base';
import type { Livepatch } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { assertNotHooked } from './hooks.ts';
import { readKernelView } from './livepatch.ts';
import { assertMemory } from './memory.ts';
import { assertFits, assertLivepatchSupport, assertModulesEnabled, assertNoConflict } from './preconditions.ts';
import { assertNoRival } from './rivals.ts';
import { assertMayLoad, signatureEnforcement } from './signature.ts';
import { type AcceptedTaint, assertSound } from './taint.ts';

/** What is to be loaded, as far as it is known. */
export interface Candidate {
  readonly manifest: Livepatch;
  /** Build id of the running kernel. */
  readonly buildId: string;
  /** The very bytes; absent before they were fetched. */
  readonly module?: Uint8Array;
}

type Check = () => Promise<void> | void;

/** Everything that may prevent a load on this kernel now, worst first, each with its own code. */
function checks(edges: Edges, candidate: Candidate | undefined, accepted: AcceptedTaint): readonly Check[] {
  const always: Check[] = [
    async () => assertLivepatchSupport(await readKernelView(edges)),
    () => assertModulesEnabled(edges),
    () => assertSound(edges, accepted),
    async () => assertNoConflict(await readKernelView(edges)),
    () => assertNoRival(edges),
  ];
  if (candidate === undefined) return always;
  const { manifest, buildId, module } = candidate;
  const moduleSize = module?.length ?? manifest.file?.size ?? 0;
  const functions = manifest.objects.reduce((sum, object) => sum + object.functions.length, 0);
  return [
    () => assertFits(manifest, buildId),
    ...always,
    () => assertMemory(edges, { moduleSize, functions }),
    async () => assertNotHooked(edges, manifest, await readKernelView(edges)),
    () => (module === undefined ? assertSigned(edges, manifest) : assertMayLoad(edges, module, manifest.signature)),
  ];
}

/** Before the bytes are there the signed description says whether they carry a signature at all. */
async function assertSigned(edges: Edges, { signature }: Livepatch): Promise<void> {
  if (signature !== undefined) return;
  const refusal = await signatureEnforcement(edges);
  if (refusal !== undefined) throw refusal;
}

/** Throws the first obstacle. */
export async function assertPreflight(edges: Edges, candidate: Candidate, accepted: AcceptedTaint): Promise<void> {
  for (const check of checks(edges, candidate, accepted)) await check();
}

/** All obstacles of a load now. Changes nothing. */
export async function preflight(
  edges: Edges,
  candidate: Candidate | undefined,
  accepted: AcceptedTaint,
): Promise<readonly KmendError[]> {
  const problems: KmendError[] = [];
  for (const check of checks(edges, candidate, accepted)) {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof KmendError)) throw error;
      problems.push(error);
    }
  }
  return problems;
}
