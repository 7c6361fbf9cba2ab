import { systemClock } from '@kmend/base/node';
import { runDemo } from './demo.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
}
const known = new Set(['--json', '--keep']);
const wrong = process.argv.slice(2).find((word) => !known.has(word));
if (wrong !== undefined) {
  process.stderr.write(`script/demo: unknown option ${wrong}\nusage: script/demo [--keep] [--json]\n`);
  process.exit(2);
}
process.exitCode = await runDemo({
  json: process.argv.includes('--json'),
  keep: process.argv.includes('--keep'),
  bootstrapSeconds: Number(process.env['KMEND_BOOTSTRAP_SECONDS'] ?? 0),
  clock: systemClock,
  signal: stop.signal,
});
