import { type Edges, errorCode } from '@kmend/base';
import { EdgeError } from '@kmend/base/node';
import { isProven, type Proof } from '@kmend/protocol';
import type { LabKernel } from '../boot-files.ts';
import type { Lab } from '../lab.ts';
import type { Accelerator } from '../qemu.ts';
import { ProofFailure } from './failure.ts';
import { ProofRecord } from './record.ts';
import { type BuiltLivepatch, checkRequest, type ProofRequest } from './request.ts';
import { ProofSteps, type ProofWork } from './steps.ts';

/** What the record's lines may have (packages/core/protocol/src/proof.ts). */
const MOST_LINES = 1000;
const LONGEST_LINE = 4000;

const HUNG = 'the guest before this one, with two processors, hung for a fault of the emulator (QEMU before 8.1)';

/**
 * Proves a livepatch on its kernel, in a fresh host (docs/builder.md, "The proof in the lab"). A livepatch that fails
 * gets a record too, with `passed: false` and the step. Throws `lab-proof-unsuitable`, and the codes of the lab where
 * it is the lab that failed; then there is no record.
 */
export async function proveLivepatch(
  lab: Lab,
  edges: Pick<Edges, 'clock' | 'progress' | 'signal'>,
  kernel: LabKernel,
  request: ProofRequest,
): Promise<Proof> {
  checkRequest(request);
  const work: ProofWork = { kernel, request, machine: { name: 'proof' } };
  const [record, steps] = await attempt(lab, edges, work).catch((error: unknown) => {
    if (errorCode(error) !== 'lab-emulator-fault') throw error;
    edges.progress.step('prove: the guest hung for a fault of the emulator: again, with one processor');
    // The fault needs two.
    return attempt(lab, edges, { ...work, machine: { name: 'proof-again', cpus: 1 }, remark: HUNG });
  });
  const { accelerator } = await lab.accelerator(kernel);
  return document(request, record, steps, { accelerator, made: edges.clock.now() });
}

/** Makes the steps in a guest of their own. */
async function attempt(
  lab: Lab,
  edges: Pick<Edges, 'clock' | 'progress' | 'signal'>,
  work: ProofWork,
): Promise<[ProofRecord, ProofSteps]> {
  const record = new ProofRecord(edges.clock, edges.progress);
  const steps = new ProofSteps(lab, edges, work, record);
  try {
    await steps.run();
  } catch (error) {
    // What an interrupt breaks off is no failure of the livepatch.
    if (edges.signal.aborted) throw new EdgeError('interrupted', 'interrupted: no proof was written', { cause: error });
    if (error instanceof ProofFailure) return [record, steps];
    await steps.end();
    throw error;
  }
  return [record, steps];
}

function document(
  request: ProofRequest,
  record: ProofRecord,
  steps: ProofSteps,
  { accelerator, made }: { readonly accelerator: Accelerator; readonly made: Date },
): Proof {
  const { livepatch, previous, version } = request;
  const { kernel } = livepatch.manifest;
  const outcomes = record.finish();
  const { transitions, rounds, memory } = steps;
  return {
    schema: 'kmend.proof/1',
    livepatch: { module: livepatch.manifest.module, ...identity(livepatch) },
    kernel: { buildId: kernel.buildId, release: kernel.release },
    passed: isProven(outcomes),
    steps: outcomes,
    notShown: [...steps.notShown].slice(0, MOST_LINES).map((line) => line.slice(0, LONGEST_LINE)),
    ran: steps.ran,
    previous: previous === undefined ? null : identity(previous),
    reproduced: [...steps.reproduced],
    figures: {
      transitions: transitions.length,
      longestTransitionSeconds: transitions.length === 0 ? null : Math.max(...transitions),
      rounds,
      memory: memory ?? null,
    },
    lab: { accelerator, ...steps.machine },
    made: made.toISOString(),
    prover: { name: 'kmend', version },
  };
}

function identity({ manifest, module }: BuiltLivepatch): { id: string; sha256: string } {
  return { id: manifest.id, sha256: module.sha256 };
}
