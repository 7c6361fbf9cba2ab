import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { codeDigest } from '@kmend/builder';
import type { FixFiles, Outcome } from '../judge/judge.ts';
import type { JudgedUpdate, JudgePool } from '../judge/pool.ts';

interface Line {
  readonly fix: string;
  readonly outcome: Outcome;
}

/**
 * What was judged of an update for one kernel, by this state of the builder: a line a fix in a file, so that work that
 * was broken off at any moment goes on behind the last whole line.
 */
export class Journal {
  readonly #path: string;
  readonly #known: Map<string, Outcome>;

  private constructor(path: string, known: Map<string, Outcome>) {
    this.#path = path;
    this.#known = known;
  }

  static async open(directory: string, { kernel, range }: Omit<JudgedUpdate, 'workshop'>): Promise<Journal> {
    const { suite, from, to } = range;
    const what = [await codeDigest(), kernel.buildId, suite, from, to].join('\n');
    const path = join(directory, `judged-${sha256(what).slice(0, 16)}.jsonl`);
    await mkdir(directory, { recursive: true });
    const text = await readFile(path, 'utf8').catch(() => '');
    // The rest of a line that was broken off must not spoil the next one.
    if (text !== '' && !text.endsWith('\n')) await appendFile(path, '\n');
    const lines = text.split('\n').map((line) => parseJson(line) as Line | undefined);
    const known = lines
      .filter((line) => line !== undefined)
      .map(({ fix, outcome }): [string, Outcome] => [fix, outcome]);
    return new Journal(path, new Map(known));
  }

  /** Judges a fix, unless that was done before. */
  async judge(pool: Pick<JudgePool, 'judge'>, fix: FixFiles, companions: boolean): Promise<Outcome> {
    const name = nameOf(fix);
    const before = this.#known.get(name);
    if (before !== undefined) return before;
    const { outcome } = await pool.judge({ ...fix, companions });
    const line: Line = { fix: name, outcome };
    await appendFile(this.#path, `${JSON.stringify(line)}\n`);
    this.#known.set(name, outcome);
    return outcome;
  }
}

function nameOf({ paths, parts = {} }: FixFiles): string {
  const sorted = Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([[...paths].sort(), sorted]);
}
