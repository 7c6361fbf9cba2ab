/** What the benches measure with. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { run, runOk } from '@kmend/base/node';

export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/**
 * Runs a command to its end and returns its peak resident memory in MiB; children do not count. Throws what it said
 * when it fails.
 */
export async function peakMemory(file: string, args: readonly string[], env: Record<string, string>): Promise<number> {
  const child = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  let peak = 0;
  const timer = setInterval(() => {
    readFile(`/proc/${child.pid}/status`, 'utf8').then(
      (status) => {
        peak = Math.max(peak, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0));
      },
      () => {}, // it has just ended
    );
  }, 20);
  const [code] = (await once(child, 'exit')) as [number | null];
  clearInterval(timer);
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${said.trim().slice(-2000)}`);
  return peak / 1024;
}

/** Bytes that files under a path take on disk, in MB. */
export async function diskUse(path: string): Promise<number> {
  const text = (await runOk(run, 'du', ['-s', '--block-size=1000000', path])).toString('utf8');
  return Number(text.split('\t')[0]);
}
