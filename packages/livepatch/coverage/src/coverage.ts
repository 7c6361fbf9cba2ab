import { appendFile, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { codeDigest } from '@kmend/builder';
import { type DeltaRange, sourceDelta } from '@kmend/kernel';
import { classOf, JudgePool, type Outcome, type Workshop } from '@kmend/pipeline';
import { type Choice, chooseFiles } from './choose.ts';
import { type MutantTable, mutantTable } from './mutants.ts';
import { reportText, type Summary, summarise } from './report.ts';
import type { Surroundings } from './surroundings.ts';
import { type Together, together } from './together.ts';

/** The mutants of a seed are the same ones in each run. */
const MUTANT_SEED = 2;

export interface CoverageOptions {
  /** Release of the kernel that is patched; its suite is that of the range. */
  readonly release: string;
  readonly range: DeltaRange;
  readonly choice: Choice;
  /** Folder for the reports, and for what was judged so far. */
  readonly out: string;
  say(line: string): void;
}

/** What is taken from an earlier report. */
interface Reported {
  readonly outcomes: readonly Outcome[];
  readonly mutants: MutantTable | undefined;
}

/**
 * Every C file that a distribution changed between two versions, each as one fix by itself: what of it can be patched.
 * Then mutants for the audit, and all that can be patched in one livepatch. Writes coverage.json and coverage.md after
 * each part.
 */
export class Coverage {
  readonly files: readonly string[];
  readonly #options: CoverageOptions;
  readonly #around: Surroundings;
  readonly #outcomes = new Map<string, Outcome>();
  #mutants: MutantTable | undefined;

  private constructor(options: CoverageOptions, around: Surroundings, files: readonly string[]) {
    this.#options = options;
    this.#around = around;
    this.files = files;
  }

  /** Fetches the kernel, the fixed one that builds are compared with, and the sources of both versions. */
  static async open(workshop: Workshop, options: CoverageOptions): Promise<Coverage> {
    const { range, say } = options;
    const kernel = await workshop.kernels.add(`${range.suite}/${options.release}`);
    await workshop.images.add(`${range.suite}/${range.to}`);
    const { changed } = await sourceDelta(workshop.edges, workshop.sources, range);
    await mkdir(options.out, { recursive: true });
    return new Coverage(options, { workshop, kernel, range, say }, chooseFiles(changed, options.choice));
  }

  /** What was judged of the files, in their order. */
  get outcomes(): readonly Outcome[] {
    return this.files.map((path) => this.#outcomes.get(path)).filter((outcome) => outcome !== undefined);
  }

  get summary(): Summary {
    return summarise(this.outcomes);
  }

  /** Files that are patchable by themselves. */
  get patchable(): readonly string[] {
    return this.outcomes.filter((outcome) => classOf(outcome) === 'patchable').map(({ paths }) => paths[0] ?? '');
  }

  /**
   * Judges the files in `jobs` processes. What this state of the builder has judged is not built again, unless `fresh`.
   * Returns the peak memory of a worker in KiB.
   */
  async judge(jobs: number, fresh: boolean): Promise<number> {
    const kept = join(this.#options.out, `${(await codeDigest()).slice(0, 16)}.jsonl`);
    if (fresh) await rm(kept, { force: true });
    const lines = (await readFile(kept, 'utf8').catch(() => '')).split('\n');
    this.#take(lines.map((line) => parseJson(line) as Outcome | undefined).filter((outcome) => outcome !== undefined));
    const { say } = this.#options;
    say(`${this.files.length} files; ${this.#outcomes.size} judged before`);
    const waiting = this.files.filter((path) => !this.#outcomes.has(path));
    let largest = 0;
    await using pool = new JudgePool(this.#around, jobs);
    const judge = async (path: string): Promise<void> => {
      const { outcome, memory } = await pool.judge({ paths: [path], companions: true });
      this.#outcomes.set(path, outcome);
      largest = Math.max(largest, memory);
      await appendFile(kept, `${JSON.stringify(outcome)}\n`);
      const done = `${String(this.#outcomes.size).padStart(4)}/${this.files.length}`;
      say(`${done} ${outcome.seconds.toFixed(1).padStart(6)} s  ${path}  ${classOf(outcome)}`);
    };
    await Promise.all(waiting.map(judge));
    await this.write();
    return largest;
  }

  /**
   * What the last report says, whatever state of the builder it is of: what is not patchable any more is found out when
   * it is built.
   */
  async takeReported(): Promise<void> {
    const path = join(this.#options.out, 'coverage.json');
    const report = parseJson(await readFile(path, 'utf8').catch(() => '')) as Partial<Reported> | undefined;
    if (report?.outcomes === undefined) throw new Error(`there is no report in ${path}: judge the files first`);
    this.#take(report.outcomes);
    this.#mutants = report.mutants ?? undefined;
  }

  /** Makes mutants of real livepatches and counts how many the audit finds. */
  async mutants(wanted: number): Promise<MutantTable> {
    this.#mutants = await mutantTable(this.#around, { wanted, seed: MUTANT_SEED, only: /./, withImage: true });
    await this.write();
    return this.#mutants;
  }

  /** Loads all that is patchable as one livepatch in the lab. A part of it is not reported. */
  async load(only: RegExp): Promise<Together> {
    const part = this.patchable.filter((path) => only.test(path));
    const loaded = await together({ ...this.#around, out: this.#options.out }, part);
    if (part.length === this.patchable.length) await this.write(loaded);
    return loaded;
  }

  /** Writes both reports; the text of the readable one. */
  async write(loaded?: Together): Promise<string> {
    const { release, range, out } = this.#options;
    const { outcomes, summary } = this;
    const mutants = this.#mutants;
    const measured = { mutants: mutants ?? null, together: loaded ?? null };
    const report = { kernel: release, ...range, files: this.files.length, ...summary, ...measured, outcomes };
    await writeFileAtomic(join(out, 'coverage.json'), `${JSON.stringify(report, null, 1)}\n`);
    const text = reportText({ kernel: release, range, outcomes, summary, mutants, loaded });
    await writeFileAtomic(join(out, 'coverage.md'), text);
    return text;
  }

  #take(outcomes: readonly Outcome[]): void {
    const files = new Set(this.files);
    for (const outcome of outcomes) {
      const [path = ''] = outcome.paths;
      if (files.has(path)) this.#outcomes.set(path, outcome);
    }
  }
}
