import type { Clock } from '@kmend/base';

/** One observation that the demo depends on: what was expected, what was seen. The demo succeeds only if all hold. */
export interface Observation {
  readonly what: string;
  readonly expected: string;
  readonly seen: string;
  readonly holds: boolean;
}

export interface TimelineStep {
  readonly title: string;
  /** Seconds since the demo began. */
  readonly start: number;
  /** Seconds it took. */
  readonly seconds: number;
  readonly observations: readonly Observation[];
}

/** Collects the steps of a run and what was observed in each. */
export class Timeline {
  readonly #clock: Clock;
  readonly #begin: number;
  readonly #say: (line: string) => void;
  readonly steps: TimelineStep[] = [];
  #observations: Observation[] = [];

  constructor(clock: Clock, say: (line: string) => void) {
    this.#clock = clock;
    this.#begin = clock.monotonic();
    this.#say = say;
  }

  /** Runs one step; it is recorded also when it fails. */
  async step<T>(title: string, work: () => Promise<T>): Promise<T> {
    const start = this.#seconds();
    this.#say(`\n${String(this.steps.length + 1).padStart(2)}. ${title}`);
    const observations: Observation[] = [];
    this.#observations = observations;
    try {
      return await work();
    } finally {
      const seconds = this.#seconds() - start;
      this.steps.push({ title, start, seconds, observations });
      this.#say(`    (${seconds.toFixed(1)} s)`);
    }
  }

  /** A step that was over before this process began. */
  record(title: string, seconds: number): void {
    this.steps.push({ title, start: 0, seconds, observations: [] });
    this.#say(`\n${String(this.steps.length).padStart(2)}. ${title}\n    (${seconds.toFixed(1)} s)`);
  }

  /** A remark that the demo does not depend on. */
  note(text: string): void {
    this.#say(`       ${text}`);
  }

  /** Records what was seen beside what had to be seen. */
  observe(what: string, expected: string, seen: string): void {
    const holds = expected === seen;
    this.#observations.push({ what, expected, seen, holds });
    this.#say(`    ${holds ? 'ok ' : 'NOT'} ${what}: ${seen}${holds ? '' : ` (expected: ${expected})`}`);
  }

  /** Everything that had to be observed was. An empty run proves nothing. */
  get holds(): boolean {
    const all = this.steps.flatMap((step) => step.observations);
    return all.length > 0 && all.every((observation) => observation.holds);
  }

  /** The closing table. */
  text(): string {
    const rows = this.steps.map(
      (step, index) =>
        `${String(index + 1).padStart(3)}  ${step.start.toFixed(1).padStart(7)} s  ${step.seconds.toFixed(1).padStart(7)} s  ${step.title}`,
    );
    return ['       begins     took  step', ...rows].join('\n');
  }

  #seconds(): number {
    return (this.#clock.monotonic() - this.#begin) / 1000;
  }
}
