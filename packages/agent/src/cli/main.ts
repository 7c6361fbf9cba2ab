import { nodeEdges } from '../edges/node.ts';
import { runProgram } from './program.ts';

process.umask(0o077);
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  // A second signal ends at once: the handler is gone.
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
}
process.exitCode = await runProgram(
  process.argv.slice(2),
  { out: process.stdout, err: process.stderr },
  {
    edges: nodeEdges(),
    env: process.env,
    uid: process.getuid?.(),
    stdin: process.stdin,
    signal: stop.signal,
  },
);
