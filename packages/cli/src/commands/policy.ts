import { type ChangeFleetPolicy, type ChangeKernelPolicy, Channel } from '@kmend/protocol';
import { Option } from 'commander';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { connect, type ServerOptions, withServer } from '../server-options.ts';
import { buildIdOf } from '../stores.ts';

interface FleetOptions extends ServerOptions {
  readonly checkInterval?: string;
  readonly halt?: boolean;
  readonly resume?: boolean;
}

interface KernelOptions extends ServerOptions {
  readonly channel: Channel;
  readonly settle?: string;
  readonly withdraw?: string;
  readonly reason?: string;
}

export const policyCommands: Register = ({ program, action }) => {
  const policy = program.command('policy').description('who gets which livepatch, and when; signed by the server');
  const fleet = policy
    .command('fleet')
    .description('what holds for every host; without options: show it')
    .option('--check-interval <seconds>', 'how often hosts check, 10 to 86400')
    .option('--halt', 'no host loads anything new')
    .option('--resume', 'and again');
  withServer(fleet).action(
    action(async (context, options: FleetOptions) => {
      const api = await connect(context, options);
      const change: ChangeFleetPolicy = {
        ...(options.checkInterval === undefined ? {} : { checkIntervalSeconds: whole(options.checkInterval) }),
        ...(options.halt ? { halted: true } : options.resume ? { halted: false } : {}),
      };
      const result = Object.keys(change).length === 0 ? await api.fleetPolicy() : await api.setFleetPolicy(change);
      context.terminal.result(
        result,
        (data) =>
          `hosts check every ${data.checkIntervalSeconds} s${data.halted ? '; HALTED: nothing new is loaded' : ''}`,
      );
    }),
  );
  const kernel = policy
    .command('kernel')
    .description('what holds for one kernel; without options: show it')
    .argument('<release|build-id>')
    .addOption(new Option('--channel <name>').choices(Channel.options).default('stable'))
    .option('--settle <serial>', 'what hosts of the channel should run')
    .option('--withdraw <serial>', 'no host may load it, and those that have replace or revert it')
    .option('--reason <text>', 'why, for --withdraw');
  withServer(kernel).action(
    action(async (context, name: string, options: KernelOptions) => {
      const buildId = await buildIdOf(context, name);
      const api = await connect(context, options);
      const change: ChangeKernelPolicy = {
        ...(options.settle === undefined
          ? {}
          : { channels: { [options.channel]: { settled: whole(options.settle), rollout: null } } }),
        ...(options.withdraw === undefined
          ? {}
          : { withdraw: [{ serial: whole(options.withdraw), reason: reasonOf(options) }] }),
      };
      const result =
        Object.keys(change).length === 0 ? await api.kernelPolicy(buildId) : await api.setKernelPolicy(buildId, change);
      context.terminal.result(result, (data) =>
        JSON.stringify({ channels: data.channels, withdrawn: data.withdrawn }, null, 2),
      );
    }),
  );
};

function whole(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new CliError('usage', `${text} is not a whole number above 0`);
  return Number(text);
}

function reasonOf(options: KernelOptions): string {
  if (options.reason !== undefined && options.reason.trim() !== '') return options.reason;
  throw new CliError('usage', 'a withdrawal needs a reason: hosts and the log show it', { hint: 'add --reason TEXT' });
}
