import { type ChildProcess, fork } from 'node:child_process';
import type { DeltaRange, Kernel } from '@kmend/kernel';
import type { Workshop } from '../workshop.ts';
import type { JudgeOrder, Outcome } from './judge.ts';
import type { WorkerOrder } from './worker.ts';

/** What fixes are judged for. */
export interface JudgedUpdate {
  readonly workshop: Workshop;
  /** The kernel that is patched. */
  readonly kernel: Kernel;
  /** The two versions of the distribution's source: the changes between them are the fixes. */
  readonly range: DeltaRange;
}

export interface Judged {
  readonly outcome: Outcome;
  /** Peak memory of the process that judged it, in KiB. */
  readonly memory: number;
}

/**
 * Judges fixes in several processes, which are started when they are needed. A process that dies fails what it judged,
 * with all that is judged afterwards: that is a failure to see. When interrupted, the processes stop what they build.
 */
export class JudgePool implements AsyncDisposable {
  readonly #update: JudgedUpdate;
  readonly #size: number;
  readonly #workers = new Set<ChildProcess>();
  readonly #idle: ChildProcess[] = [];
  readonly #waiting: (() => void)[] = [];
  #failure: Error | undefined;

  constructor(update: JudgedUpdate, size: number) {
    this.#update = update;
    this.#size = Math.max(1, size);
    update.workshop.edges.signal.addEventListener('abort', this.#disconnect, { once: true });
  }

  async judge(order: JudgeOrder): Promise<Judged> {
    const { signal } = this.#update.workshop.edges;
    try {
      const worker = await this.#take();
      worker.send(order);
      const judged = (await message(worker)) as Judged;
      this.#idle.push(worker);
      return judged;
    } catch (error) {
      signal.throwIfAborted();
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      this.#waiting.shift()?.();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#update.workshop.edges.signal.removeEventListener('abort', this.#disconnect);
    const ended = [...this.#workers].map((worker) =>
      worker.exitCode === null && worker.signalCode === null
        ? new Promise<void>((resolve) => worker.once('exit', () => resolve()))
        : undefined,
    );
    this.#disconnect();
    await Promise.all(ended);
  }

  readonly #disconnect = (): void => {
    for (const worker of this.#workers) if (worker.connected) worker.disconnect();
  };

  async #take(): Promise<ChildProcess> {
    for (;;) {
      this.#update.workshop.edges.signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      const idle = this.#idle.pop();
      if (idle !== undefined) return idle;
      if (this.#workers.size < this.#size) return await this.#start();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async #start(): Promise<ChildProcess> {
    const { workshop, kernel, range } = this.#update;
    const order: WorkerOrder = { kernel: kernel.buildId, range };
    const worker = fork(new URL('worker.ts', import.meta.url), [JSON.stringify(order)], {
      env: { ...process.env, KMEND_CACHE: workshop.cache },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#workers.add(worker);
    await message(worker);
    return worker;
  }
}

function message(worker: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`a process that judges fixes ended with ${code}`));
    worker.once('exit', onExit);
    worker.once('message', (value) => {
      worker.off('exit', onExit);
      resolve(value);
    });
  });
}
