/**
 * `script/bench reach [--count N] [--seed S] FIX...`: what the search for the units that changed headers reach has left out, by compiling a
 * sample of it before and after. FIX: ids of imported fixes. N units that mention what changes, and N that do not (10 each). A unit whose
 * objects differ is named, with what differs; the exit code is then 1.
 */
import { parseArgs } from 'node:util';
import { silentProgress } from '@kmend/base';
import { places, run, systemClock } from '@kmend/base/node';
import { Builder, FixStore } from '@kmend/builder';
import { Archive, KernelStore, mirrors } from '@kmend/kernel';
import { KERNEL } from '../demo/fixes.ts';
import { seconds } from './measure.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
});
const signal = new AbortController().signal;
const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal };
const { cache, home } = places();
const kernels = new KernelStore(edges, new Archive(edges, mirrors(process.env), cache), cache);
const builder = await Builder.open(edges, cache, await kernels.open(KERNEL));
const sample = { count: Number(values.count), seed: Number(values.seed) };
for (const id of positionals) {
  const fix = await new FixStore(home).open(id);
  let judged: Awaited<ReturnType<Builder['leftAlone']>> = [];
  const took = await seconds(async () => {
    judged = await builder.leftAlone(fix, sample);
  });
  const wrong = judged.filter(({ differences }) => differences.length > 0);
  const mentioning = judged.filter(({ mentions }) => mentions).length;
  console.log(
    `${id}: ${judged.length} units that were left alone (${mentioning} mention what changes), ${wrong.length} differ, ${took.toFixed(0)} s`,
  );
  for (const { source, differences } of wrong)
    console.log(`  DIFFERS  ${source}: ${differences.slice(0, 5).join('; ')}`);
  if (wrong.length > 0) process.exitCode = 1;
}
