import { registersFor } from './commands/index.ts';
import { runProgram } from './program.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    stop.abort(new Error(`interrupted by ${name}`));
    // A second signal ends at once: the handler is gone.
  });
}
const argv = process.argv.slice(2);
const { exitCode } = await runProgram(argv, await registersFor(argv), {
  streams: { out: process.stdout, err: process.stderr },
  env: process.env,
  signal: stop.signal,
  hangups: {
    listen(heard) {
      process.on('SIGHUP', heard);
      return () => void process.off('SIGHUP', heard);
    },
  },
});
process.exitCode = exitCode;
