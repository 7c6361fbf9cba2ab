/**
 * `script/bench audit [--mutants N] [--seed N] [--only REGEXP] [--without-image]`: makes mutants of real livepatches and counts how many the audit
 * finds (bench/mutants.ts). Deterministic for a seed. Prints what it misses, and ends with 1 if it misses any.
 */
import { parseArgs } from 'node:util';
import { silentProgress } from '@kmend/base';
import { places, run, systemClock } from '@kmend/base/node';
import { Archive, ImageStore, KernelStore, mirrors, SourceStore } from '@kmend/kernel';
import { FROM, KERNEL, SUITE, TO } from '../demo/fixes.ts';
import { mutantTable, mutantText } from './mutants.ts';

const { values: options } = parseArgs({
  options: {
    mutants: { type: 'string', default: '1200' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    'without-image': { type: 'boolean', default: false },
  },
});
const { signal } = new AbortController();
const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal };
const { cache } = places();
const archive = new Archive(edges, mirrors(process.env), cache);
const kernels = new KernelStore(edges, archive, cache);
const kernel = await kernels.add(`${SUITE}/${KERNEL}`);
const images = new ImageStore(edges, archive, kernels, cache);
await images.add(`${SUITE}/${TO}`);
const sources = new SourceStore(edges, archive, cache);
const range = { suite: SUITE, from: FROM, to: TO };
const say = (line: string): void => console.error(`  ${line}`);
const table = await mutantTable(
  { edges, cache, kernel, images, sources, range, signal, say },
  {
    wanted: Number(options.mutants),
    seed: Number(options.seed),
    only: new RegExp(options.only),
    withImage: !options['without-image'],
  },
);
console.log(mutantText(table));
if (table.missed.length > 0) process.exitCode = 1;
