import { type ChildProcess, fork } from 'node:child_process';
import type { Outcome } from './judge.ts';
import type { Surroundings } from './surroundings.ts';
import type { WorkerOrder } from './worker.ts';

/**
 * Judges files in several processes. A worker that dies takes the run with it: that is a failure to see. When the run
 * is interrupted, the workers stop what they build.
 */
export async function judgeInWorkers(
  { workshop, kernel, range }: Surroundings,
  paths: readonly string[],
  workers: number,
  judged: (path: string, outcome: Outcome, memoryKb: number) => Promise<void>,
): Promise<void> {
  const { signal } = workshop.edges;
  const waiting = [...paths];
  const order: WorkerOrder = { kernel: kernel.buildId, range };
  const work = async (): Promise<void> => {
    if (waiting.length === 0) return;
    const worker = fork(new URL('worker.ts', import.meta.url), [JSON.stringify(order)], {
      env: { ...process.env, KMEND_CACHE: workshop.cache },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const disconnect = (): void => {
      if (worker.connected) worker.disconnect();
    };
    signal.addEventListener('abort', disconnect, { once: true });
    try {
      await message(worker);
      for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
        signal.throwIfAborted();
        worker.send([path]);
        const { outcome, memory } = (await message(worker)) as { outcome: Outcome; memory: number };
        await judged(path, outcome, memory);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', disconnect);
      disconnect();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, workers) }, () => work()));
}

function message(worker: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`a worker ended with ${code}`));
    worker.once('exit', onExit);
    worker.once('message', (value) => {
      worker.off('exit', onExit);
      resolve(value);
    });
  });
}
