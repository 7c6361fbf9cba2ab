import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { layout, type StepClass } from './faults/layout.ts';
import type { Steps, Trace } from './groups/steps.ts';
import type { RoundResult } from './round.ts';

const Harm = z.enum(['down', 'unverified', 'false-protected', 'journal-lost', 'not-right']);
const Result = z.object({
  id: z.string(),
  struck: z.boolean(),
  findings: z.array(z.object({ harm: Harm, text: z.string() })),
  standing: z.object({ kind: z.enum(['right', 'person', 'wrong']), text: z.string() }),
  seconds: z.number(),
  what: z.string(),
}) satisfies z.ZodType<RoundResult>;
const Kept = z.object({ subject: z.string(), results: z.array(Result) });

const Counts = z.object(
  Object.fromEntries(Object.keys(layout.steps).map((name) => [name, z.int().min(0)])) as Record<StepClass, z.ZodInt>,
);
const KeptSteps = z.object({
  subject: z.string(),
  steps: z.object({ load: Counts, replace: Counts, revert: Counts, boot: Counts }),
});
const STEPS = 'steps.json';

/** Results of the rounds of one group, on disk after each: an interrupted campaign continues where it was. */
export class Results {
  readonly #directory: string;
  readonly #group: string;
  readonly #subject: string;
  readonly #results: Map<string, RoundResult>;

  private constructor(directory: string, group: string, subject: string, results: readonly RoundResult[]) {
    this.#directory = directory;
    this.#group = group;
    this.#subject = subject;
    this.#results = new Map(results.map((it) => [it.id, it]));
  }

  /** `subject`: what is being tried, e.g. the hash of the agent's package; results for another one are forgotten. */
  static async open(directory: string, group: string, subject: string): Promise<Results> {
    await mkdir(directory, { recursive: true });
    const text = await readFile(join(directory, `${group}.json`), 'utf8').catch(() => undefined);
    const kept = text === undefined ? undefined : Kept.safeParse(JSON.parse(text)).data;
    return new Results(directory, group, subject, kept?.subject === subject ? kept.results : []);
  }

  /** The results of these rounds. */
  of(ids: ReadonlySet<string>): readonly RoundResult[] {
    return [...this.#results.values()].filter((it) => ids.has(it.id));
  }

  /** The steps of an earlier traced life of the same agent. */
  static async steps(directory: string, subject: string): Promise<Steps | undefined> {
    const text = await readFile(join(directory, STEPS), 'utf8').catch(() => undefined);
    const kept = text === undefined ? undefined : KeptSteps.safeParse(JSON.parse(text)).data;
    return kept?.subject === subject ? kept.steps : undefined;
  }

  /** `trace`: every step, for people. */
  static async keepSteps(directory: string, subject: string, steps: Steps, trace: Trace): Promise<void> {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, STEPS), `${JSON.stringify({ subject, steps })}\n`);
    const lines = Object.entries(trace).flatMap(([phase, list]) => [
      `== ${phase}`,
      ...list.map(({ n, role, op, path }) => `${n} ${role} ${op} ${path}`),
    ]);
    await writeFile(join(directory, 'trace.txt'), `${lines.join('\n')}\n`);
  }

  /** A round that went well is not run again; one that failed is. */
  has(id: string): boolean {
    return this.#results.get(id)?.findings.length === 0;
  }

  async add(result: RoundResult): Promise<void> {
    this.#results.set(result.id, result);
    const kept = { subject: this.#subject, results: [...this.#results.values()] };
    await writeFile(join(this.#directory, `${this.#group}.json`), `${JSON.stringify(kept, null, 1)}\n`);
  }

  /** Keeps what a person needs to see of a failure. */
  async tell(result: RoundResult, evidence: string): Promise<void> {
    const head = `\n==== ${this.#group} ${result.id} (${result.what})\n`;
    const lines = result.findings.map(({ harm, text }) => `${harm}: ${text}\n`).join('');
    await appendFile(join(this.#directory, 'failures.log'), `${head}${lines}${evidence}\n`);
  }
}
