import { type ChangeFleetPolicy, type ChangeKernelPolicy, Channel, type ChannelPolicy } from '@kmend/protocol';
import { setFloor } from '@kmend/server';
import { Option } from 'commander';
import { CliError } from '../error.ts';
import { planText } from '../plan-text.ts';
import type { Register } from '../program.ts';
import { connect, keysDirectory, type ServerOptions, withServer } from '../server-options.ts';
import { buildIdOf } from '../workshop.ts';
import { report } from './keys.ts';
import { fleetText, kernelText } from './policy-text.ts';

interface FleetOptions extends ServerOptions {
  readonly checkInterval?: string;
  readonly halt?: boolean;
  readonly resume?: boolean;
  readonly consolidate?: 'on' | 'off';
}

interface FloorOptions extends ServerOptions {
  readonly keys?: string;
  readonly yes?: boolean;
}

interface KernelOptions extends ServerOptions {
  readonly channel?: readonly Channel[];
  readonly settle?: string;
  readonly withdraw?: string;
  readonly reason?: string;
  readonly restore?: string;
}

export const policyCommands: Register = ({ program, action }) => {
  const policy = program.command('policy').description('who gets which livepatch, and when; signed by the server');
  const fleet = policy
    .command('fleet')
    .description('what holds for every host; without options: show it')
    .option('--check-interval <seconds>', 'how often hosts check, 10 to 86400')
    .addOption(
      new Option('--halt', 'no host loads anything new; what is loaded stays, what is withdrawn goes').conflicts(
        'resume',
      ),
    )
    .option('--resume', 'lift the halt: hosts load again')
    .addOption(
      new Option(
        '--consolidate <on|off>',
        'whether hosts whose packages have a stack in force replace it by the cumulative livepatch',
      ).choices(['on', 'off']),
    );
  withServer(fleet).action(
    action(async (context, options: FleetOptions) => {
      const api = await connect(context, options);
      const change: ChangeFleetPolicy = {
        ...(options.checkInterval === undefined ? {} : { checkIntervalSeconds: whole(options.checkInterval) }),
        ...(options.halt ? { halted: true } : options.resume ? { halted: false } : {}),
        ...(options.consolidate === undefined ? {} : { consolidate: options.consolidate === 'on' }),
      };
      const result = Object.keys(change).length === 0 ? await api.fleetPolicy() : await api.setFleetPolicy(change);
      context.terminal.result(result, fleetText);
    }),
  );
  const kernel = policy
    .command('kernel')
    .description('what holds for one kernel; without options: show it')
    .argument('<release|build-id>')
    .addOption(
      new Option('--channel <name...>', 'channels that --settle speaks of (default: stable)').choices(Channel.options),
    )
    .option(
      '--settle <serial|none>',
      'what hosts of these channels should run; who runs a newer one keeps it, unless that is withdrawn; none: this kernel has every fix and needs no livepatch yet',
    )
    .option('--withdraw <serial>', 'no host may load it, and those that have replace or revert it')
    .option('--reason <text>', 'why, for --withdraw')
    .option('--restore <serial>', 'take its withdrawal back');
  withServer(kernel).action(
    action(async (context, name: string, options: KernelOptions) => {
      const change = changeOf(options);
      const buildId = await buildIdOf(context, name);
      const api = await connect(context, options);
      const result =
        Object.keys(change).length === 0 ? await api.kernelPolicy(buildId) : await api.setKernelPolicy(buildId, change);
      context.terminal.result(result, kernelText);
    }),
  );
  const floor = policy
    .command('floor')
    .description(
      'the serial below which policy cannot keep hosts of a kernel; signed with the release key, on this machine',
    )
    .argument('<release|build-id>')
    .argument('<serial|none>')
    .option('--keys <dir>', 'folder with the release key (default: keys, under KMEND_HOME)')
    .option('--yes', 'sign what is shown; without it nothing is signed or changed');
  withServer(floor).action(
    action(async (context, name: string, serial: string, options: FloorOptions) => {
      const wanted = serial === 'none' ? null : whole(serial);
      const buildId = await buildIdOf(context, name);
      const api = await connect(context, options);
      const outcome = await setFloor(api, {
        keys: options.keys ?? keysDirectory(context),
        sign: options.yes === true,
        confirm: (plan) => context.terminal.note(planText(plan)),
        buildId,
        floor: wanted,
      });
      report(context, outcome);
    }),
  );
};

function changeOf(options: KernelOptions): ChangeKernelPolicy {
  const { channel = ['stable'], settle, withdraw, restore } = options;
  if (options.channel !== undefined && settle === undefined) {
    throw new CliError('usage', '--channel goes with --settle: a withdrawal holds for every channel');
  }
  if (options.reason !== undefined && withdraw === undefined)
    throw new CliError('usage', '--reason goes with --withdraw');
  const entry = settle === undefined ? undefined : settledOn(settle);
  return {
    ...(entry === undefined ? {} : { channels: Object.fromEntries(channel.map((each) => [each, entry])) }),
    ...(withdraw === undefined ? {} : { withdraw: [{ serial: whole(withdraw), reason: reasonOf(options) }] }),
    ...(restore === undefined ? {} : { restore: [whole(restore)] }),
  };
}

function settledOn(settle: string): ChannelPolicy {
  if (settle === 'none') return { settled: null, rollout: null, noneNeeded: true };
  return { settled: whole(settle), rollout: null };
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new CliError('usage', `${text} is not a whole number above 0`);
  return Number(text);
}

function reasonOf(options: KernelOptions): string {
  if (options.reason !== undefined && options.reason.trim() !== '') return options.reason;
  throw new CliError('usage', 'a withdrawal needs a reason: hosts and the log show it', { hint: 'add --reason TEXT' });
}
