import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { KmendError } from '../error.ts';
import { cpuMs } from './cpu.ts';
import { Random } from './random.ts';

export interface FuzzOptions<T> {
  /** What is being tried, for messages. */
  readonly name: string;
  readonly cases: number;
  /** Milliseconds of processor time for all cases; those that do not fit are not run. Default 10 seconds. */
  readonly budgetMs?: number;
  /** Milliseconds of processor time for one case; a longer one fails. Default 5 seconds. */
  readonly caseMs?: number;
  /** Bytes that one case may leave allocated outside the heap of objects. Default 64 MiB. */
  readonly caseBytes?: number;
  readonly make: (random: Random) => T;
  /** Ends well, or with a `KmendError`. */
  readonly attempt: (input: T) => unknown;
}

export interface FuzzOutcome {
  readonly cases: number;
  readonly accepted: number;
  /** By error code. */
  readonly refused: ReadonlyMap<string, number>;
}

/**
 * Tries mutated inputs, one a seed, from 1 on: the same in every run. `KMEND_FUZZ_SEED` tries one seed alone,
 * `KMEND_FUZZ_FROM` others than usual. Any outcome but success and a `KmendError`, a case that takes too long or too
 * much memory, and one that never ends fail with the seed that makes it again.
 */
export async function fuzz<T>(options: FuzzOptions<T>): Promise<FuzzOutcome> {
  const { name, budgetMs = 10_000, caseMs = 5000, caseBytes = 64 << 20 } = options;
  const { KMEND_FUZZ_SEED: only, KMEND_FUZZ_FROM: first = '1' } = process.env;
  const seeds = only === undefined ? { from: Number(first), count: options.cases } : { from: Number(only), count: 1 };
  const refused = new Map<string, number>();
  let accepted = 0;
  let cases = 0;
  const begin = cpuMs();
  const watch = new Watch(name, caseMs);
  await watch.ready();
  try {
    for (; cases < seeds.count && cpuMs() - begin < budgetMs; cases++) {
      const seed = seeds.from + cases;
      const input = options.make(new Random(seed));
      const before = process.memoryUsage().arrayBuffers;
      const started = cpuMs();
      watch.begin(seed);
      try {
        await options.attempt(input);
        accepted++;
      } catch (error) {
        if (!(error instanceof KmendError)) throw new Error(`${name}: ${again(seed)}`, { cause: error });
        refused.set(error.code, (refused.get(error.code) ?? 0) + 1);
      } finally {
        watch.end();
      }
      const took = cpuMs() - started;
      if (took > caseMs) throw new Error(`${name}: a case took ${Math.round(took)} ms: ${again(seed)}`);
      const left = process.memoryUsage().arrayBuffers - before;
      if (left > caseBytes) throw new Error(`${name}: a case allocated ${left} bytes: ${again(seed)}`);
    }
  } finally {
    await watch.close();
  }
  return { cases, accepted, refused };
}

/** For a test's diagnostics: how many cases there were, and their outcomes. */
export function describeFuzz({ cases, accepted, refused }: FuzzOutcome): string {
  const codes = [...refused].sort(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${count}`);
  return `${cases} cases: ${accepted} accepted, ${codes.join(', ')}`;
}

function again(seed: number): string {
  return `seed ${seed}, again with KMEND_FUZZ_SEED=${seed}`;
}

/** Of time by the clock, many times what a case may take: a busy machine is no endless loop. */
const ENDLESS = 20;

/** A case that never ends holds this thread: another one says which it was, and ends the process. */
const WATCH = `
const { workerData: { state, name, limit } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
for (;;) {
  const seed = Atomics.load(state, 0);
  if (Atomics.wait(state, 0, seed, limit) !== 'timed-out' || seed === 0) continue;
  if (seed < 0) break;
  writeSync(2, name + ': the case with seed ' + seed + ' does not end: KMEND_FUZZ_SEED=' + seed + '\\n');
  process.kill(process.pid, 'SIGKILL');
}`;

class Watch {
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;

  constructor(name: string, caseMs: number) {
    const workerData = { state: this.#state, name, limit: caseMs * ENDLESS };
    this.#worker = new Worker(WATCH, { eval: true, execArgv: [], workerData });
  }

  /** A thread that starts needs this one once more. */
  async ready(): Promise<void> {
    await once(this.#worker, 'online');
    this.#worker.unref();
  }

  begin(seed: number): void {
    this.#set(seed);
  }

  end(): void {
    this.#set(0);
  }

  #set(seed: number): void {
    Atomics.store(this.#state, 0, seed);
    Atomics.notify(this.#state, 0);
  }

  async close(): Promise<void> {
    this.#set(-1);
    await this.#worker.terminate();
  }
}
