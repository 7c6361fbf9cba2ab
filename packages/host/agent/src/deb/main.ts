import { parseArgs } from 'node:util';
import { buildAgentPackage } from './index.ts';

/** `node packages/host/agent/src/deb/main.ts --out DIR`: builds the package and prints what it is as JSON. */
const { values } = parseArgs({ options: { out: { type: 'string' } } });
if (values.out === undefined) {
  process.stderr.write('usage: agent-deb --out DIR\n');
  process.exitCode = 2;
} else {
  process.stdout.write(`${JSON.stringify(await buildAgentPackage({ out: values.out }), null, 2)}\n`);
}
