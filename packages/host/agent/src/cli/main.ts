import { Socket } from 'node:net';
import { nodeEdges } from '../edges/node.ts';
import { runProgram } from './program.ts';
import { serveCommand } from './served.ts';
import { startProgram } from './start.ts';

async function main(): Promise<void> {
  process.umask(0o077);
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    // A second signal ends at once: the handler is gone.
    process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
  }
  const argv = process.argv.slice(2);
  const context = { edges: nodeEdges(), env: process.env, uid: process.getuid?.(), signal: stop.signal };
  // Of kmend-agent-command@.service, whose input is the socket.
  if (argv[0] === 'fetcher-serve') await serveCommand(new Socket({ fd: 0 }), runProgram, context);
  else
    process.exitCode = await runProgram(
      argv,
      { out: process.stdout, err: process.stderr },
      { ...context, stdin: process.stdin },
    );
}

// Read only by the commands that need it; in a snapshot it costs none of them anything.
startProgram(main, () => import('./act.ts'));
