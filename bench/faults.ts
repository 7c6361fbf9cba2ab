/**
 * The fault campaign: every fault that a host may meet, on a real kernel in the lab, and what became of the host.
 * script/bench faults [--quick] [--only GROUP]... [--rounds N]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { places } from '@kmend/base/node';
import { campaign } from '../test/support/faults/campaign/campaign.ts';
import { groups, QUICK } from '../test/support/faults/campaign/groups.ts';
import { Rig } from '../test/support/faults/campaign/rig.ts';
import { remarks, table } from '../test/support/faults/campaign/table.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    rounds: { type: 'string' },
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
const rig = await Rig.make(stop.signal, { step: say, advance() {} });
try {
  const rows = await campaign(rig, {
    groups: groups.filter((it) => values.only?.includes(it.name) ?? true),
    rounds: values.rounds === undefined ? (values.quick ? QUICK : Number.POSITIVE_INFINITY) : Number(values.rounds),
    directory: join(places().cache, 'bench', 'faults'),
    signal: stop.signal,
    say,
  });
  for (const line of remarks(rows)) process.stdout.write(`${line}\n`);
  process.stdout.write(`${table(rows)}\n`);
  if (rows.some(({ results }) => results.some((it) => it.findings.length > 0))) process.exitCode = 1;
} finally {
  await rig.close();
}
