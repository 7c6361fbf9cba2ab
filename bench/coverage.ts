/**
 * `script/bench coverage [--kernel RELEASE --suite SUITE --from VERSION --to VERSION] [--jobs N] [--fresh]
 * [--only REGEXP] [--folders 'A B' [--sample N [--seed S]]] [--mutants N] [--no-load | --load-only] [--out DIR]`: every
 * C file that Debian changed between two versions (default: of Debian 12's kernel) in the core of the kernel, or in
 * other folders, or N of these chosen at random (of the core, or without it), the same for the same seed; each taken as
 * one fix by itself.
 * Resumable: what this state of the builder has judged is not built again, unless `--fresh`. Then mutants of real
 * livepatches for the audit, 1,000 unless told (packages/livepatch/coverage). Then all that are patchable together in
 * one cumulative livepatch on the stock kernel in the lab, unless `--no-load`. Writes coverage.json and coverage.md.
 * `--load-only` takes what was judged from the last coverage.json, and with `--only` loads a part of it and writes
 * nothing: to find the fix that makes trouble.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CORE, Coverage, loadedText, mutantText, WANTED_RAN } from '@kmend/coverage';
import { FROM, KERNEL, openWorkshop, SUITE, TO } from '@kmend/harness';
import { ranShare } from '@kmend/protocol';
import { coverageFolder } from './lib/coverage-folder.ts';
import { interruptible } from './lib/interrupt.ts';

/** Share of what has anything to patch that has to be patchable, at once or after review, with its companions. */
const WANTED = 0.9;

const { values: options } = parseArgs({
  options: {
    kernel: { type: 'string', default: KERNEL },
    suite: { type: 'string', default: SUITE },
    from: { type: 'string', default: FROM },
    to: { type: 'string', default: TO },
    jobs: { type: 'string', default: '2' },
    fresh: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    folders: { type: 'string', default: CORE.join(' ') },
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    mutants: { type: 'string', default: '1000' },
    out: { type: 'string' },
    'no-load': { type: 'boolean', default: false },
    'load-only': { type: 'boolean', default: false },
  },
});
if (options['no-load'] && options['load-only']) throw new Error('--no-load and --load-only leave nothing to do');
const workshop = openWorkshop(interruptible());
const only = new RegExp(options.only);
const out = options.out ?? coverageFolder(workshop.cache, options.kernel, options.to);
const coverage = await Coverage.open(workshop, {
  release: options.kernel,
  range: { suite: options.suite, from: options.from, to: options.to },
  choice: {
    folders: options.folders.split(' '),
    // With --load-only everything of the last report stays in it, and a part is loaded.
    only: options['load-only'] ? /./ : only,
    sample: options.sample === undefined ? undefined : { count: Number(options.sample), seed: options.seed },
  },
  out,
  say: (line) => console.log(`  ${line}`),
});
if (coverage.files.length === 0)
  throw new Error(`no C file of the choice changed from ${options.from} to ${options.to}`);
if (options['load-only']) await coverage.takeReported();
else await judge();
if (!options['no-load']) await load();

async function judge(): Promise<void> {
  const begin = performance.now();
  const memory = await coverage.judge(Number(options.jobs), options.fresh);
  const minutes = (performance.now() - begin) / 60_000;
  console.log(`\n${(await coverage.write()).split('\n## ')[0]}`);
  const largest = (memory / 1024).toFixed(0);
  console.log(`${minutes.toFixed(1)} minutes; largest worker ${largest} MiB; ${join(out, 'coverage.md')}`);
  const { whole, share } = coverage.summary;
  if ((whole['failed'] ?? 0) + (whole['audit-failed'] ?? 0) > 0 || share < WANTED) process.exitCode = 1;
  if (Number(options.mutants) <= 0) return;
  const mutants = await coverage.mutants(Number(options.mutants));
  console.log(`\n${mutantText(mutants)}`);
  if (mutants.missed.length > 0) process.exitCode = 1;
}

async function load(): Promise<void> {
  const loaded = await coverage.load(only);
  console.log(`\n${loadedText(loaded)}`);
  for (const problem of loaded.problems) console.log(`PROBLEM  ${problem}`);
  const ran = ranShare({ ran: loaded.ran === undefined ? null : [...loaded.ran] });
  if (loaded.problems.length > 0 || (ran?.percent ?? 0) < WANTED_RAN) process.exitCode = 1;
}
