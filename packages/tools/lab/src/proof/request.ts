import type { Livepatch } from '@kmend/protocol';
import { LabError } from '../error.ts';

/** A livepatch as `kmend build` wrote it, checked against its manifest. */
export interface BuiltLivepatch {
  readonly manifest: Livepatch;
  readonly module: { readonly path: string; readonly sha256: string };
}

export interface ProofRequest {
  readonly livepatch: BuiltLivepatch;
  /** The cumulative livepatch that hosts run now: it is replaced, and put back. */
  readonly previous?: BuiltLivepatch;
  /** Fix id to the C file of a reproducer that is not the lab's own. */
  readonly reproducers: ReadonlyMap<string, string>;
  /** Use the parts of the kernel that the livepatch patches while it is in force. */
  readonly exercise: boolean;
  /** Counted rounds of load and revert, at least 1. */
  readonly rounds: number;
  /** Seconds a transition may take. */
  readonly transitionLimit: number;
  /** Version of kmend, for the record. */
  readonly version: string;
}

/** Throws `lab-proof-unsuitable` for a request that cannot lead to a proof. */
export function checkRequest({ livepatch, previous, reproducers }: ProofRequest): void {
  const { manifest } = livepatch;
  for (const fix of reproducers.keys()) {
    if (manifest.fixes.some(({ id }) => id === fix)) continue;
    throw new LabError('lab-proof-unsuitable', `livepatch ${manifest.id} has no fix ${fix} to reproduce`, {
      hint: `its fixes: ${manifest.fixes.map(({ id }) => id).join(', ')}`,
    });
  }
  if (previous === undefined) return;
  const unfit = (why: string): LabError =>
    new LabError('lab-proof-unsuitable', `livepatch ${previous.manifest.id} is not the previous one: ${why}`, {
      hint: 'give the folder of the cumulative livepatch that hosts of this kernel run now',
    });
  if (manifest.kind !== 'cumulative') throw unfit(`${manifest.id} is stacked and replaces nothing`);
  if (previous.manifest.kind !== 'cumulative') throw unfit('it is stacked');
  if (previous.manifest.kernel.buildId !== manifest.kernel.buildId) {
    throw unfit(`it is for another kernel (${previous.manifest.kernel.release})`);
  }
  if (previous.manifest.module === manifest.module) throw unfit('it is this livepatch itself');
}
