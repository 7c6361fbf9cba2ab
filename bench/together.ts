/** The last part of `script/bench coverage`: all that is patchable in one cumulative livepatch, on the stock kernel in the lab. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Progress, silentProgress } from '@kmend/base';
import { run, systemClock } from '@kmend/base/node';
import { Builder, importFromDebian } from '@kmend/builder';
import type { DeltaRange, Kernel, SourceStore, UnpackEdges } from '@kmend/kernel';
import { complaints, type Exercise, type Host, Lab, LivepatchControl } from '@kmend/lab';
import type { Livepatch } from '@kmend/protocol';

const MEMORY_MB = 2048;
const TRANSITION_LIMIT_S = 300;
const EXERCISE_S = 30;

export interface Together {
  readonly fixes: number;
  readonly functions: number;
  readonly objects: number;
  readonly size: number;
  readonly buildSeconds: number;
  readonly loadSeconds: number;
  readonly revertSeconds: number;
  /** Operations before, during and after the load, and after the revert. */
  readonly operations: readonly number[];
  /** Patched modules that were in memory, and those that do not load in the guest (hardware). */
  readonly modules: readonly string[];
  readonly absent: readonly string[];
  /** What went wrong; empty when nothing did. */
  readonly problems: readonly string[];
}

interface Surroundings {
  readonly edges: UnpackEdges;
  readonly cache: string;
  readonly kernel: Kernel;
  readonly sources: SourceStore;
  readonly range: DeltaRange;
  readonly signal: AbortSignal;
  say(line: string): void;
}

/** Builds one cumulative livepatch of a fix a file, loads it under load, exercises, reverts. */
export async function together(around: Surroundings, paths: readonly string[]): Promise<Together> {
  const begin = performance.now();
  const { manifest, module } = await build(around, paths);
  const buildSeconds = (performance.now() - begin) / 1000;
  if (module === undefined)
    throw new Error(`all together are ${manifest.verdict}: ${JSON.stringify(manifest.reasons)}`);
  const functions = manifest.objects.reduce((sum, object) => sum + object.functions.length, 0);
  around.say(
    `together: ${paths.length} fixes, ${functions} functions in ${manifest.objects.length} objects, ${module.length} bytes, ${buildSeconds.toFixed(1)} s`,
  );
  const progress: Progress = { ...silentProgress, step: around.say };
  const lab = new Lab({ run, clock: systemClock, progress, cache: join(around.cache, 'lab'), signal: around.signal });
  try {
    const host = await lab.boot(around.kernel, { name: 'together', memoryMb: MEMORY_MB });
    const measured = await tryOut(around, lab, host, manifest, module);
    const counts = { fixes: paths.length, functions, objects: manifest.objects.length, size: module.length };
    return { ...counts, buildSeconds, ...measured };
  } finally {
    await lab.close();
  }
}

async function build({ edges, cache, kernel, sources, range }: Surroundings, paths: readonly string[]) {
  const fixes = [];
  for (const [index, path] of paths.entries()) {
    const words = { id: `F${index}`, title: path, severity: 'unknown', hardware: false } as const;
    fixes.push(await importFromDebian(edges, sources, words, { ...range, paths: [path] }));
  }
  const builder = await Builder.open(edges, cache, kernel);
  return await builder.build({ fixes, kind: 'cumulative', acceptReview: true });
}

type Measured = Pick<Together, 'loadSeconds' | 'revertSeconds' | 'operations' | 'modules' | 'absent' | 'problems'>;

async function tryOut(
  { say, cache }: Surroundings,
  lab: Lab,
  host: Host,
  manifest: Livepatch,
  module: Uint8Array,
): Promise<Measured> {
  const problems: string[] = [];
  const operations: number[] = [];
  const exercised = (when: string, { operations: count, failures, skipped }: Exercise): void => {
    operations.push(count);
    problems.push(...failures.map((failure) => `${when}: ${failure}`));
    say(
      `exercised ${when}: ${count} operations, ${failures.length} areas with failures${skipped.length > 0 ? `, without ${skipped.join(' ')}` : ''}`,
    );
  };
  const modules: string[] = [];
  const absent: string[] = [];
  for (const { name } of manifest.objects) {
    if (name === 'vmlinux') continue;
    const { exitCode } = await host.run(['modprobe', name], { timeoutMs: 180_000 });
    (exitCode === 0 ? modules : absent).push(name);
  }
  say(`patched modules in memory: ${modules.length}; not to be had in the guest: ${absent.join(' ') || 'none'}`);
  exercised('on the kernel alone', await lab.exercise(host, EXERCISE_S));
  const path = `/root/${manifest.module}.ko`;
  const file = join(cache, 'bench', 'coverage', `${manifest.module}.ko`);
  await writeFile(file, module);
  await host.copyIn(file, path);
  const control = new LivepatchControl(host, TRANSITION_LIMIT_S);
  const livepatch = { name: manifest.module, path };
  const during = lab.exercise(host, EXERCISE_S);
  // Awaited below; a failure before that must not end the process.
  during.catch(() => {});
  const loadSeconds = await control.load(livepatch);
  say(`loaded; every task has gone over after ${loadSeconds} s`);
  exercised('while it was loaded', await during);
  exercised('with all of it in force', await lab.exercise(host, EXERCISE_S));
  const revertSeconds = await control.revert(livepatch);
  await control.unload(livepatch);
  say(`reverted after ${revertSeconds} s and unloaded`);
  exercised('after the revert', await lab.exercise(host, EXERCISE_S));
  const log = complaints(await host.kernelLog());
  problems.push(...log.map((line) => `kernel log: ${line}`));
  say(log.length === 0 ? 'kernel log clean' : `kernel log: ${log.length} complaints`);
  return { loadSeconds, revertSeconds, operations, modules, absent, problems };
}
