import { writeFileAtomic } from '@kmend/base/node';
import { type ActivationKey, Channel } from '@kmend/protocol';
import { Option } from 'commander';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { connect, type ServerOptions, withServer } from '../server-options.ts';
import { table } from '../terminal.ts';

interface CreateOptions extends ServerOptions {
  readonly name: string;
  readonly channel: Channel;
  readonly seats?: string;
  readonly expires?: string;
  readonly out?: string;
}

export const keyCommands: Register = ({ program, action }) => {
  const key = program.command('key').description('Manage activation keys, which hosts need to enrol.');
  const create = key
    .command('create')
    .description('Create an activation key. It is shown only once.')
    .requiredOption('--name <text>', 'Purpose of the key')
    .addOption(
      new Option('--channel <name>', 'Channel of the hosts that enrol with it')
        .choices(Channel.options)
        .default('stable'),
    )
    .option('--seats <number>', 'Number of hosts that may enrol with it (default: no limit)')
    .option('--expires <date>', 'Day or time after which no host can enrol with it, e.g. 2027-01-31')
    .option('--out <file>', 'Write the key to a file that only you can read, instead of showing it');
  withServer(create).action(
    action(async (context, options: CreateOptions) => {
      const api = await connect(context, options);
      const { name, channel } = options;
      const made = await api.createKey({
        name,
        channel,
        seats: seats(options.seats),
        expires: moment(options.expires),
      });
      if (options.out === undefined) {
        context.terminal.result(made, (data) => `${data.key}\n(id ${data.id}; it will not be shown again)`);
        return;
      }
      await writeFileAtomic(options.out, `${made.key}\n`, 0o600);
      const { key: _, ...shown } = made;
      context.terminal.result({ ...shown, file: options.out }, (data) => `the key is in ${data.file} (id ${data.id})`);
    }),
  );
  withServer(key.command('list').description('List activation keys, without the keys themselves.')).action(
    action(async (context, options: ServerOptions) => {
      const api = await connect(context, options);
      const packages = new Map((await api.packageSeats()).map(({ keyId, hosts }) => [keyId, hosts]));
      const keys = (await api.listKeys()).map((one) => ({ ...one, packageHosts: packages.get(one.id) ?? 0 }));
      context.terminal.result({ keys }, (data) =>
        table(['ID', 'NAME', 'CHANNEL', 'SEATS', 'USED', 'PACKAGES', 'STATE'], data.keys.map(row)),
      );
    }),
  );
  withServer(
    key
      .command('revoke')
      .description('Revoke a key: no further host can enrol with it, and no host gets packages.')
      .argument('<id>'),
  ).action(
    action(async (context, id: string, options: ServerOptions) => {
      const revoked = await (await connect(context, options)).revokeKey(id);
      context.terminal.result(revoked, (data) => `${data.name} (${data.id}) is revoked; hosts enrolled with it stay`);
    }),
  );
};

function row(key: ActivationKey & { readonly packageHosts: number }): string[] {
  const state = key.revoked ? 'revoked' : key.expires === null ? 'valid' : `until ${key.expires}`;
  const limit = key.seats === null ? 'no limit' : String(key.seats);
  return [key.id, key.name, key.channel, limit, String(key.used), String(key.packageHosts), state];
}

function seats(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new CliError('usage', `${text} is not a number of seats`);
  return Number(text);
}

function moment(text: string | undefined): string | null {
  if (text === undefined) return null;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new CliError('usage', `${text} is not a date`, { hint: 'e.g. 2027-01-31' });
  return new Date(time).toISOString();
}
