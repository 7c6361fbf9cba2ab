import { parseArgs } from 'node:util';
import { errorText } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { runDemo } from './demo.ts';
import { SUBJECTS } from './subject.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
}
const usage = `usage: script/demo [--suite ${Object.keys(SUBJECTS).join('|')}] [--keep] [--json]`;
const options = optionsOf(process.argv.slice(2));
const subject = SUBJECTS[options.suite];
if (subject === undefined) fail(`there is no demo for the suite ${options.suite}`);
process.exitCode = await runDemo({
  subject,
  json: options.json,
  keep: options.keep,
  bootstrapSeconds: Number(process.env['KMEND_BOOTSTRAP_SECONDS'] ?? 0),
  clock: systemClock,
  signal: stop.signal,
});

function optionsOf(args: string[]): { readonly suite: string; readonly json: boolean; readonly keep: boolean } {
  try {
    const flag = { type: 'boolean', default: false } as const;
    const suite = { type: 'string', default: 'bookworm' } as const;
    return parseArgs({ args, options: { suite, json: flag, keep: flag } }).values;
  } catch (error) {
    return fail(errorText(error));
  }
}

function fail(why: string): never {
  process.stderr.write(`script/demo: ${why}\n${usage}\n`);
  process.exit(2);
}
