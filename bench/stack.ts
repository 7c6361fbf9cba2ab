/**
 * `script/bench stack [--depth N]...`: what a stack of livepatches costs a host, beside one cumulative livepatch with
 * the same fixes: memory, time to load at boot, transitions, and a call of a function that each layer patches. On a
 * real kernel, through the packages and their loader.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { KERNEL, Operator, openLab, PackagedHost, SUITE } from '@kmend/harness';
import { callNs, costOf, install } from './lib/stack/cost.ts';
import { packagesOf } from './lib/stack/debs.ts';
import { rowsOf } from './lib/stack/rows.ts';
import { importSeries } from './lib/stack/series.ts';

const { values } = parseArgs({
  options: { depth: { type: 'string', multiple: true, default: ['1', '5', '20', '50'] } },
});
const depths = values.depth.map(Number).sort((a, b) => a - b);
if (depths.some((it) => !Number.isInteger(it) || it < 1 || it > 200)) {
  process.stderr.write('--depth is a whole number from 1 to 200\n');
  process.exit(2);
}
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
const begin = performance.now();
const say = (line: string): void =>
  void process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(0).padStart(6)} s  ${line}\n`);

const operator = await Operator.make(stop.signal);
const publishers: Operator[] = [];
const { lab, kernels } = openLab(operator.cache, stop.signal, { step: say, advance() {} });
try {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  say(`${depths.at(-1)} fixes`);
  const fixes = await importSeries(operator, depths.at(-1) ?? 0);
  const stack = [];
  for (const [index, fix] of fixes.entries()) {
    const out = join(operator.home, fix);
    const on = index > 0 ? ['--on', ...fixes.slice(0, index)] : [];
    await operator.kmend(
      'build',
      '--kernel',
      KERNEL,
      '--stacked',
      ...on,
      '--fix',
      fix,
      '--out',
      out,
      '--accept-review',
    );
    stack.push(out);
    if (index % 10 === 9) say(`${index + 1} stacked livepatches are built`);
  }
  const host = new PackagedHost(
    await lab.boot(await kernels.open(KERNEL), {
      name: 'stack',
      cpus: 1,
      packages: ['gpgv'],
      kernelArguments: ['nowatchdog'],
      fresh: true,
    }),
  );
  const program = await lab.reproducer('calls', join(import.meta.dirname, 'lib', 'stack', 'calls.c'));
  const bareNs = await callNs(host, program);
  await host.host.save('bare');
  process.stdout.write(
    'stack of N livepatches, and one cumulative with the same N fixes; emulated: only the ratios count\n',
  );
  for (const depth of depths) {
    const out = join(operator.home, `all-${depth}`);
    const first = fixes.slice(0, depth);
    await operator.kmend('build', '--kernel', KERNEL, '--fix', ...first, '--out', out, '--accept-review');
    const publisher = await Operator.make(stop.signal);
    publishers.push(publisher);
    const debs = await packagesOf(publisher, stack.slice(0, depth), out);
    await host.host.restore('bare');
    await install(host, [debs.loader]);
    const stacked = await costOf(host, debs.stacked, program);
    say(`a stack of ${depth} is measured`);
    // In place of the stack, as its owner would consolidate it.
    const cumulative = await costOf(host, [debs.cumulative], program);
    say(`one cumulative livepatch with ${depth} fixes is measured`);
    process.stdout.write(`${rowsOf(depth, stacked, cumulative, bareNs).join('\n')}\n`);
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  process.exitCode = 130;
} finally {
  await lab.close();
  await Promise.all([operator, ...publishers].map((it) => it.remove()));
}
