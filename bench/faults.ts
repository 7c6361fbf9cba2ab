/**
 * The fault campaign: every fault that a host may meet, on a real kernel in the lab, and the outcome for the host.
 * script/bench faults [--quick] [--only GROUP]... [--id ROUND]... [--rounds N] [--guests N] [--results FOLDER]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { places } from '@kmend/base/node';
import { campaign, groups, Rig, remarks, SHORT_ROUNDS, table } from '@kmend/campaign';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    id: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    results: { type: 'string', default: join(places().cache, 'bench', 'faults') },
    guests: { type: 'string', default: '2' },
  },
});
const unknown = values.only?.find((name) => !groups.some((it) => it.name === name));
if (unknown !== undefined) {
  process.stderr.write(`no group ${unknown}; there are: ${groups.map((it) => it.name).join(' ')}\n`);
  process.exit(2);
}
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
}
const begin = performance.now();
const say = (line: string): void =>
  void process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(0).padStart(6)} s  ${line}\n`);
const rigs: Rig[] = [];
try {
  const guests = Number(values.guests);
  // Emulated processors that wait for each other are slow where there are more of them than real ones.
  const cpus = guests > 1 ? 1 : 2;
  for (let left = guests; left > 0; left -= 1)
    rigs.push(await Rig.make(stop.signal, { step: say, advance() {} }, cpus));
  const [first, ...others] = rigs;
  if (first === undefined) throw new Error('--guests is a number above 0');
  const rows = await campaign([first, ...others], {
    groups: groups.filter((it) => values.only?.includes(it.name) ?? (!values.quick || it.name in SHORT_ROUNDS)),
    rounds: (group) => {
      if (values.rounds !== undefined) return Number(values.rounds);
      return values.quick ? SHORT_ROUNDS[group] : undefined;
    },
    ids: values.id,
    short: values.quick,
    directory: values.results,
    signal: stop.signal,
    say,
  });
  const unmet = values.id?.filter((id) => !rows.some(({ results }) => results.some((it) => it.id === id))) ?? [];
  if (unmet.length > 0) {
    process.stderr.write(`no such round: ${unmet.join(', ')} (they are named in the lines of a run)\n`);
    process.exitCode = 2;
  }
  for (const line of remarks(rows)) process.stdout.write(`${line}\n`);
  process.stdout.write(`${table(rows)}\n`);
  if (rows.some(({ results }) => results.some((it) => it.findings.length > 0))) process.exitCode = 1;
} catch (error) {
  if (!stop.signal.aborted) throw error;
  process.stderr.write('interrupted: what is done is kept\n');
  process.exitCode = 130;
} finally {
  await Promise.all(rigs.map((rig) => rig.close()));
}
