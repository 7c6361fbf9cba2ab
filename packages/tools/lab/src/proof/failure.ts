/** The livepatch did not do what it should: ends the proof, which is then recorded as failed. */
export class ProofFailure extends Error {
  /** Lines for people: the kernel's messages, the blocking tasks. */
  readonly details: readonly string[];

  constructor(message: string, details: readonly string[] = [], options: ErrorOptions = {}) {
    super(message, options);
    this.details = details;
  }
}
