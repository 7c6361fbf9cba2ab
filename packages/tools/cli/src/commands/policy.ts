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
  const policy = program
    .command('policy')
    .description('Set which hosts get which livepatch, and when. The server signs it.');
  const fleet = policy
    .command('fleet')
    .description('Set the policy of the whole fleet. Without options: show it.')
    .option('--check-interval <seconds>', 'Check interval of hosts, 10 to 86400')
    .addOption(
      new Option('--halt', 'Stop all loading; what is loaded stays, what is withdrawn is reverted').conflicts('resume'),
    )
    .option('--resume', 'Lift the halt: hosts load again')
    .addOption(
      new Option(
        '--consolidate <on|off>',
        'Whether hosts replace a stack of packages by the cumulative livepatch',
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
    .description('Set the policy of one kernel. Without options: show it.')
    .argument('<release|build-id>')
    .addOption(
      new Option('--channel <name...>', 'Channels that --settle is for (default: stable)').choices(Channel.options),
    )
    .option(
      '--settle <serial|none>',
      'Serial for hosts of these channels. Hosts on a newer serial keep it unless it is withdrawn. none: this kernel needs no livepatch yet',
    )
    .option('--withdraw <serial>', 'Withdraw a serial: no host loads it, and hosts that run it replace or revert it')
    .option('--reason <text>', 'Reason for --withdraw')
    .option('--restore <serial>', 'Undo the withdrawal of a serial');
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
      'Set the serial below which policy cannot keep hosts of a kernel. Signed with the release key, on this machine.',
    )
    .argument('<release|build-id>')
    .argument('<serial|none>')
    .option('--keys <dir>', 'Folder with the release key (default: keys, under KMEND_HOME)')
    .option('--yes', 'Sign what is shown; without it nothing is signed or changed');
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
    throw new CliError('usage', '--channel needs --settle: a withdrawal is for every channel');
  }
  if (options.reason !== undefined && withdraw === undefined) throw new CliError('usage', '--reason needs --withdraw');
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
  throw new CliError('usage', '--withdraw needs a reason: hosts and the log show it', { hint: 'add --reason TEXT' });
}
