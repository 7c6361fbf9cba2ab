/**
 * `script/bench coverage [--jobs N] [--fresh] [--only REGEXP] [--folders 'A B' [--sample N [--seed S]]] [--mutants N]
 * [--no-load | --load-only] [--out DIR]`: every C file that Debian changed between two versions in the core of the kernel, or in other folders, or N of these chosen at random, the same
 * for the same seed; each taken as one fix by itself. Resumable: what this state of the builder has judged is not built again,
 * unless `--fresh`. Then mutants of real livepatches for the audit, 1,000 unless told (bench/mutants.ts). Then all that are patchable together in
 * one cumulative livepatch on the stock kernel in the lab, unless `--no-load`. Writes coverage.json and coverage.md. `--load-only` takes what was
 * judged from the last coverage.json, and with `--only` loads a part of it and writes nothing: to find the fix that makes trouble.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { appendFile, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseJson, silentProgress } from '@kmend/base';
import { places, run, sha256, systemClock, writeFileAtomic } from '@kmend/base/node';
import { codeDigest } from '@kmend/builder';
import { Archive, ImageStore, KernelStore, mirrors, SourceStore, sourceDelta } from '@kmend/kernel';
import { ranShare } from '@kmend/protocol';
import { FROM, KERNEL, SUITE, TO } from '../demo/fixes.ts';
import { classOf, loadedText, reportText, summarise } from './coverage-report.ts';
import type { Outcome } from './coverage-worker.ts';
import { type MutantTable, mutantTable, mutantText } from './mutants.ts';
import { WANTED_RAN } from './ran.ts';
import { type Together, together } from './together.ts';

const FOLDERS =
  'net/ipv4 net/ipv6 net/core net/unix net/netlink net/packet kernel fs mm ipc security crypto io_uring block lib';
/** Share of what has anything to patch that has to be patchable, at once or after review, with its companions. */
const WANTED = 0.9;

/** The mutants of a seed are the same ones in each run. */
const MUTANT_SEED = 2;

/** What is taken from an earlier report. */
interface Reported {
  readonly outcomes: readonly Outcome[];
  readonly mutants: MutantTable | undefined;
}

const { values: options } = parseArgs({
  options: {
    jobs: { type: 'string', default: '2' },
    fresh: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    folders: { type: 'string', default: FOLDERS },
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    mutants: { type: 'string', default: '1000' },
    out: { type: 'string' },
    'no-load': { type: 'boolean', default: false },
    'load-only': { type: 'boolean', default: false },
  },
});
if (options['no-load'] && options['load-only']) throw new Error('--no-load and --load-only leave nothing to do');
const { cache } = places();
const out = options.out ?? join(cache, 'bench', 'coverage');
const stop = new AbortController();
const { signal } = stop;
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal };
const begin = performance.now();

const archive = new Archive(edges, mirrors(process.env), cache);
const kernels = new KernelStore(edges, archive, cache);
const kernel = await kernels.add(`${SUITE}/${KERNEL}`);
// What the livepatches are compared with.
const images = new ImageStore(edges, archive, kernels, cache);
await images.add(`${SUITE}/${TO}`);
const sources = new SourceStore(edges, archive, cache);
const range = { suite: SUITE, from: FROM, to: TO };
const { changed } = await sourceDelta(edges, sources, range);
const inFolders = new RegExp(`^(?:${options.folders.replaceAll(' ', '|')})/.*\\.c$`);
const inCore = new RegExp(`^(?:${FOLDERS.replaceAll(' ', '|')})/`);
const only = new RegExp(options.only);
const kept = join(out, `${(await codeDigest()).slice(0, 16)}.jsonl`);
if (options.fresh) await rm(kept, { force: true });
await mkdir(out, { recursive: true });

const files = chosen(changed.filter((path) => inFolders.test(path))).filter(
  (path) => options['load-only'] || only.test(path),
);
const outcomes = new Map<string, Outcome>();
const before = options['load-only'] ? await reported() : undefined;
for (const outcome of before?.outcomes ?? (await judgedBefore())) {
  const [path = ''] = outcome.paths;
  if (files.includes(path)) outcomes.set(path, outcome);
}
const waiting = options['load-only'] ? [] : files.filter((path) => !outcomes.has(path));
console.log(`${files.length} files; ${outcomes.size} judged before`);
let memory = 0;
let done = outcomes.size;
await Promise.all(Array.from({ length: Math.max(1, Number(options.jobs)) }, () => work()));
const minutes = (performance.now() - begin) / 60_000;

const all = files.map((path) => outcomes.get(path)).filter((outcome) => outcome !== undefined);
const summary = summarise(all);
const say = (line: string): void => console.log(`  ${line}`);
const around = { edges, cache, kernel, images, sources, range, out, signal, say };
let mutants = before?.mutants;
if (before === undefined) {
  const text = await write();
  console.log(`\n${text.split('\n## ')[0]}`);
  console.log(
    `${minutes.toFixed(1)} minutes; largest worker ${(memory / 1024).toFixed(0)} MiB; ${join(out, 'coverage.md')}`,
  );
  const wrong = (summary.whole['failed'] ?? 0) + (summary.whole['audit-failed'] ?? 0);
  if (wrong > 0 || summary.share < WANTED) process.exitCode = 1;
  const wanted = Number(options.mutants);
  if (wanted > 0) {
    mutants = await mutantTable(around, { wanted, seed: MUTANT_SEED, only: /./, withImage: true });
    await write();
    console.log(`\n${mutantText(mutants)}`);
    if (mutants.missed.length > 0) process.exitCode = 1;
  }
}
if (!options['no-load']) {
  const patchable = all.filter((outcome) => classOf(outcome) === 'patchable').map(({ paths }) => paths[0] ?? '');
  const part = patchable.filter((path) => only.test(path));
  const loaded = await together(around, part);
  if (part.length === patchable.length) await write(loaded);
  console.log(`\n${loadedText(loaded)}`);
  for (const problem of loaded.problems) console.log(`PROBLEM  ${problem}`);
  const ran = ranShare({ ran: loaded.ran === undefined ? null : [...loaded.ran] });
  if (loaded.problems.length > 0 || (ran?.percent ?? 0) < WANTED_RAN) process.exitCode = 1;
}

/** A sample is taken outside the core, which is judged whole. A hash gives the order: the choice is random, and the same for the same seed. */
function chosen(paths: readonly string[]): readonly string[] {
  if (options.sample === undefined) return paths;
  const place = (path: string): string => sha256(`${options.seed}:${path}`);
  const outside = paths.filter((path) => !inCore.test(path));
  return outside.sort((a, b) => (place(a) < place(b) ? -1 : 1)).slice(0, Number(options.sample));
}

/** Writes both reports; the text of the readable one. */
async function write(loaded?: Together): Promise<string> {
  const measured = { mutants: mutants ?? null, together: loaded ?? null };
  const report = { kernel: KERNEL, ...range, files: files.length, ...summary, ...measured, outcomes: all };
  await writeFileAtomic(join(out, 'coverage.json'), `${JSON.stringify(report, null, 1)}\n`);
  const text = reportText(KERNEL, range, all, summary, mutants, loaded);
  await writeFileAtomic(join(out, 'coverage.md'), text);
  return text;
}

/** What this state of the builder has judged. */
async function judgedBefore(): Promise<Outcome[]> {
  const lines = (await readFile(kept, 'utf8').catch(() => '')).split('\n');
  return lines.map((line) => parseJson(line) as Outcome | undefined).filter((outcome) => outcome !== undefined);
}

/** What the last report says, whatever state of the builder it is of: what is not patchable any more is found out when it is built. */
async function reported(): Promise<Reported> {
  const path = join(out, 'coverage.json');
  const report = parseJson(await readFile(path, 'utf8').catch(() => '')) as Partial<Reported> | undefined;
  if (report?.outcomes === undefined) throw new Error(`there is no report in ${path}: run without --load-only first`);
  return { outcomes: report.outcomes, mutants: report.mutants ?? undefined };
}

/** Gives one file after the other to a process of its own. A worker that dies takes the bench with it: that is a failure to see. */
async function work(): Promise<void> {
  if (waiting.length === 0) return;
  const worker = fork(new URL('coverage-worker.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await message(worker);
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    signal.throwIfAborted();
    worker.send([path]);
    const { outcome, memory: used } = (await message(worker)) as { outcome: Outcome; memory: number };
    outcomes.set(path, outcome);
    memory = Math.max(memory, used);
    await appendFile(kept, `${JSON.stringify(outcome)}\n`);
    console.log(
      `${String(++done).padStart(4)}/${files.length} ${outcome.seconds.toFixed(1).padStart(6)} s  ${path}  ${classOf(outcome)}`,
    );
  }
  worker.disconnect();
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
