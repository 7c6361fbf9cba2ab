import { errorCode } from '@kmend/base';
import { Command, CommanderError, Option } from 'commander';
import { type Context, createContext, type Surroundings } from './context.ts';
import { exitCodes } from './error.ts';
import { type Streams, shownStreams } from './terminal.ts';
import { VERSION } from './version.ts';

/**
 * Adds one family of commands; `action` wraps what a command does so that context, errors and exit codes are the same
 * for all.
 */
export interface Registrar {
  readonly program: Command;
  action<Arguments extends unknown[]>(
    run: (context: Context, ...args: Arguments) => Promise<void>,
  ): (...args: Arguments) => Promise<void>;
}

export type Register = (registrar: Registrar) => void;

export interface Outcome {
  readonly exitCode: number;
}

/** Runs `kmend` once. Never throws: every error becomes text (or JSON) and an exit code. */
export async function runProgram(
  argv: readonly string[],
  registers: readonly Register[],
  surroundings: Surroundings,
): Promise<Outcome> {
  const { streams, signal } = surroundings;
  // Known before parsing, so that a usage error is JSON too.
  const json = argv.includes('--json');
  let exitCode: number = exitCodes.done;
  const context = createContext(surroundings, json, (code) => {
    exitCode = code;
  });
  const program = new Command('kmend')
    .description('Keep running Linux kernels patched without reboots.')
    .version(VERSION, '-V, --version', 'Print the version')
    .addOption(new Option('--json', 'Print one JSON document on stdout'))
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 needs review, 130 interrupted.\nEvery command takes --json and --help.',
    )
    .showHelpAfterError('(try --help)');
  const registrar: Registrar = {
    program,
    action:
      (run) =>
      (...args) =>
        run(context, ...args),
  };
  for (const register of registers) register(registrar);
  harden(program, shownStreams(streams), json);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return { exitCode };
  } catch (error) {
    if (error instanceof CommanderError) return { exitCode: usageExit(error, context) };
    context.terminal.error(error);
    if (signal.aborted) return { exitCode: exitCodes.interrupted };
    return { exitCode: errorCode(error) === 'usage' ? exitCodes.usage : exitCodes.failed };
  }
}

function usageExit(error: CommanderError, context: Context): number {
  // Help and version were asked for: commander reports them as an "error" with exit code 0.
  if (error.exitCode === 0) return exitCodes.done;
  if (context.terminal.json) {
    context.terminal.result({ error: { code: 'usage', message: error.message } }, () => '');
  }
  return exitCodes.usage;
}

/** Every command, however deep: --json accepted, our streams, no process.exit, our words for commander's own help. */
function harden(command: Command, streams: Streams, json: boolean): void {
  command.helpOption('-h, --help', 'Show this help');
  if (command.commands.length > 0) command.helpCommand('help [command]', 'Show the help of a command.');
  command.exitOverride().configureOutput({
    writeOut: (text) => streams.out.write(text),
    writeErr: (text) => streams.err.write(json ? '' : text),
  });
  for (const child of command.commands) {
    if (child.commands.length === 0) child.addOption(new Option('--json', 'Print one JSON document on stdout'));
    harden(child, streams, json);
  }
}
