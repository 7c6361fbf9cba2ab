/**
 * `script/bench audit [--mutants N] [--seed N] [--only REGEXP] [--without-image]`: makes mutants of real livepatches and counts how many the audit
 * finds (packages/livepatch/coverage). Deterministic for a seed. Prints what it misses, and ends with 1 if it misses any.
 */
import { parseArgs } from 'node:util';
import { mutantTable, mutantText } from '@kmend/coverage';
import { FROM, KERNEL, openWorkshop, SUITE, TO } from '@kmend/harness';
import { interruptible } from './lib/interrupt.ts';

const { values: options } = parseArgs({
  options: {
    mutants: { type: 'string', default: '1200' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    'without-image': { type: 'boolean', default: false },
  },
});
const workshop = openWorkshop(interruptible());
const kernel = await workshop.kernels.add(`${SUITE}/${KERNEL}`);
await workshop.images.add(`${SUITE}/${TO}`);
const range = { suite: SUITE, from: FROM, to: TO };
const say = (line: string): void => console.error(`  ${line}`);
const table = await mutantTable(
  { workshop, kernel, range, say },
  {
    wanted: Number(options.mutants),
    seed: Number(options.seed),
    only: new RegExp(options.only),
    withImage: !options['without-image'],
  },
);
console.log(mutantText(table));
if (table.missed.length > 0) process.exitCode = 1;
