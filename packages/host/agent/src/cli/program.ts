import { parseArgs } from 'node:util';
import { errorText } from '@kmend/base';
import { AgentError, exitCodes } from '../error.ts';
import { AGENT_VERSION } from '../version.ts';
import {
  apply,
  bootCommand,
  check,
  consolidate,
  doctor,
  enrolCommand,
  fetcherEnrol,
  fetcherOnce,
  history,
  hold,
  loader,
  resume,
  revert,
  shutdown,
  status,
  uname,
} from './commands.ts';
import type { Context, Values } from './context.ts';
import { createTerminal, type Streams } from './terminal.ts';
import { help } from './text.ts';

interface Entry {
  readonly run: (context: Context, values: Values) => Promise<number>;
  readonly options: Readonly<Record<string, { readonly type: 'string' | 'boolean' }>>;
}

/** Every command with its options; docs/agent.md explains each. */
export const commands: Readonly<Record<string, Entry>> = {
  enrol: {
    run: enrolCommand,
    options: {
      server: { type: 'string' },
      'key-file': { type: 'string' },
      root: { type: 'string' },
      repository: { type: 'string' },
      ca: { type: 'string' },
      'allow-plain-http': { type: 'boolean' },
      again: { type: 'boolean' },
      'no-start': { type: 'boolean' },
    },
  },
  status: { run: status, options: {} },
  check: { run: check, options: { bundle: { type: 'string' }, report: { type: 'string' } } },
  apply: { run: apply, options: { serial: { type: 'string' } } },
  revert: { run: revert, options: { 'until-newer': { type: 'boolean' }, previous: { type: 'boolean' } } },
  hold: { run: hold, options: { until: { type: 'string' }, reason: { type: 'string' } } },
  resume: { run: resume, options: {} },
  consolidate: { run: consolidate, options: { undo: { type: 'boolean' } } },
  history: { run: history, options: {} },
  doctor: { run: doctor, options: {} },
  uname: { run: uname, options: {} },
  'fetcher-once': {
    run: fetcherOnce,
    options: {
      bundle: { type: 'string' },
      metadata: { type: 'boolean' },
      serial: { type: 'string' },
      report: { type: 'boolean' },
      service: { type: 'boolean' },
      tell: { type: 'boolean' },
    },
  },
  'fetcher-enrol': { run: fetcherEnrol, options: {} },
  loader: { run: loader, options: {} },
  boot: { run: bootCommand, options: {} },
  shutdown: { run: shutdown, options: {} },
};

/** Runs `kmend-agent` once. Never throws: every error becomes text (or JSON) and an exit code. */
export async function runProgram(
  argv: readonly string[],
  streams: Streams,
  context: Omit<Context, 'terminal'>,
): Promise<number> {
  // Known before parsing, so that a usage error is JSON too.
  const terminal = createTerminal(streams, argv.includes('--json'));
  try {
    const [name, ...rest] = argv.filter((it) => it !== '--json');
    if (name === undefined || rest.includes('--help') || name === '--help' || name === '-h' || name === 'help') {
      streams.out.write(help);
      return name === undefined ? exitCodes.usage : 0;
    }
    if (name === '--version') {
      terminal.result({ version: AGENT_VERSION }, (it) => it.version);
      return 0;
    }
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (command === undefined)
      throw new AgentError('usage', `there is no command "${name}"`, { hint: 'kmend-agent --help' });
    return await command.run({ ...context, terminal }, parse(command, rest));
  } catch (error) {
    terminal.error(error);
    if (context.signal.aborted) return exitCodes.interrupted;
    return error instanceof AgentError && error.code === 'usage' ? exitCodes.usage : exitCodes.failed;
  }
}

function parse(command: Entry, args: readonly string[]): Values {
  try {
    return parseArgs({ args: [...args], options: command.options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new AgentError('usage', errorText(error), { cause: error, hint: 'kmend-agent --help' });
  }
}
