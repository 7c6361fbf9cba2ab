/**
 * `script/bench reach [--count N] [--seed S] FIX...`: what the search for the units that changed headers reach has left
 * out, by compiling a sample of it before and after. FIX: ids of imported fixes. N units that mention what changes, and
 * N that do not (10 each). A unit whose objects differ is named, with what differs; the exit code is then 1.
 */
import { parseArgs } from 'node:util';
import type { Builder } from '@kmend/builder';
import { KERNEL, openWorkshop } from '@kmend/harness';
import { interruptible } from './lib/interrupt.ts';
import { seconds } from './lib/measure.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
});
const workshop = openWorkshop(interruptible());
const builder = await workshop.builder(await workshop.kernels.open(KERNEL));
const sample = { count: Number(values.count), seed: Number(values.seed) };
for (const id of positionals) {
  const fix = await workshop.fixes.open(id);
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
