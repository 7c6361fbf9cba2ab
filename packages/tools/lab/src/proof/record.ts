import type { Clock, Progress } from '@kmend/base';
import { type ProofStep, ProofStepName } from '@kmend/protocol';
import { ProofFailure } from './failure.ts';

/** Work of a step: says what it saw, and returns why it was skipped if the livepatch is not to blame. */
export type StepWork = (say: (line: string) => void) => Promise<string | undefined>;

const MAX_LINES = 1000;
const MAX_LINE = 4000;

/** The steps of one proof as they are made. */
export class ProofRecord {
  readonly #clock: Clock;
  readonly #progress: Progress;
  readonly #steps: ProofStep[] = [];

  constructor(clock: Clock, progress: Progress) {
    this.#clock = clock;
    this.#progress = progress;
  }

  /** Makes and records one step. A `ProofFailure` is recorded and passed on; any other error leaves no record. */
  async make(name: ProofStepName, work: StepWork): Promise<void> {
    this.#progress.step(`prove: ${name} (${this.#steps.length + 1} of ${ProofStepName.options.length})`);
    const begin = this.#clock.monotonic();
    const lines: string[] = [];
    const end = (outcome: ProofStep['outcome']): void => {
      const seconds = Math.round(this.#clock.monotonic() - begin) / 1000;
      const details = lines.slice(0, MAX_LINES).map((line) => line.slice(0, MAX_LINE));
      this.#steps.push({ name, outcome, seconds, details });
    };
    try {
      const reason = await work((line) => lines.push(line));
      if (reason !== undefined) lines.push(reason);
      end(reason === undefined ? 'passed' : 'not-made');
    } catch (error) {
      if (error instanceof ProofFailure) {
        lines.push(error.message, ...error.details);
        end('failed');
      }
      throw error;
    }
  }

  /** Every step, those that were not reached with the reason. */
  finish(): ProofStep[] {
    const failed = this.#steps.find(({ outcome }) => outcome === 'failed');
    return ProofStepName.options.map(
      (name) =>
        this.#steps.find((step) => step.name === name) ?? {
          name,
          outcome: 'not-made',
          seconds: 0,
          details: [failed === undefined ? 'not reached' : `not reached: ${failed.name} failed`],
        },
    );
  }

  passed(name: ProofStepName): boolean {
    return this.#steps.some((step) => step.name === name && step.outcome === 'passed');
  }
}
