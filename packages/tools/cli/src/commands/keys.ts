import { shownLine } from '@kmend/base';
import {
  type KeysStatus,
  keysStatus,
  type RotateKeysOptions,
  renewRoles,
  rotateKeys,
  type Signed,
} from '@kmend/server';
import type { LivepatchName, RotatedRole } from '@kmend/trust';
import { Argument, type Command } from 'commander';
import type { Context } from '../context.ts';
import { CliError } from '../error.ts';
import { planText } from '../plan-text.ts';
import type { Register } from '../program.ts';
import { connect, keysDirectory, type ServerOptions, withServer } from '../server-options.ts';
import { table } from '../terminal.ts';

interface KeysOptions extends ServerOptions {
  readonly keys?: string;
  readonly rootKeys?: string;
}

interface SigningOptions extends KeysOptions {
  readonly yes?: boolean;
}

interface RotateOptions extends SigningOptions {
  readonly keep?: readonly string[];
  readonly drop?: readonly string[];
  readonly reason?: string;
}

const ROLES = ['root', 'release', 'snapshot', 'timestamp', 'policy'] as const satisfies readonly RotatedRole[];
const ONLINE = ['snapshot', 'timestamp', 'policy'] as const satisfies readonly RotatedRole[];

export const keysCommands: Register = ({ program, action }) => {
  const keys = program.command('keys').description('Show, replace and renew the keys that sign the repository.');
  withKeys(
    keys.command('status').description('Show the key of each role, where it is, and when its role expires.'),
  ).action(
    action(async (context, options: KeysOptions) => {
      const api = await connect(context, options);
      const status = await keysStatus(api, options.keys ?? keysDirectory(context), options.rootKeys);
      context.terminal.result(status, statusText);
    }),
  );
  const rotate = keys
    .command('rotate')
    .description('Replace keys: create new ones, publish them, retire the old ones. Safe to repeat.')
    .addArgument(
      new Argument('<role...>', 'Roles; online: snapshot, timestamp and policy').choices([...ROLES, 'online']),
    )
    .option(
      '--keep <build-id/serial...>',
      'With release: livepatches to keep although this machine did not sign them; or: all',
    )
    .option('--drop <build-id/serial...>', 'With release: livepatches to drop; hosts that run one revert it')
    .option('--reason <text>', 'Reason for --drop');
  withSigning(rotate).action(
    action(async (context, names: readonly (RotatedRole | 'online')[], options: RotateOptions) => {
      const roles = [...new Set(names.flatMap((name) => (name === 'online' ? ONLINE : [name])))];
      const choice = choiceOf(roles, options);
      const api = await connect(context, options);
      report(context, await rotateKeys(api, { ...signing(context, options), roles, ...choice }));
    }),
  );
  const renew = keys
    .command('renew')
    .description('Sign root, targets and every kernel again before they expire. No key changes.');
  withSigning(renew).action(
    action(async (context, options: SigningOptions) => {
      const api = await connect(context, options);
      report(context, await renewRoles(api, signing(context, options)));
    }),
  );
};

function withKeys(command: Command): Command {
  return withServer(command)
    .option('--keys <dir>', 'Folder with the release key and the pinned root (default: keys, under KMEND_HOME)')
    .option('--root-keys <dir>', 'Folder with the root key (default: the same)');
}

function withSigning(command: Command): Command {
  return withKeys(command).option('--yes', 'Sign what is shown; without it nothing is signed or changed');
}

function signing(context: Context, options: SigningOptions) {
  return {
    keys: options.keys ?? keysDirectory(context),
    rootKeys: options.rootKeys,
    sign: options.yes === true,
    confirm: (plan: Parameters<typeof planText>[0]) => context.terminal.note(planText(plan)),
  };
}

/** What was signed; an error if it was only shown, so that no script takes it for done. */
export function report(context: Context, outcome: Signed): void {
  if (!outcome.signed && outcome.plan !== null) {
    throw new CliError('not-confirmed', 'nothing was signed or changed: --yes is missing', {
      hint: 'check the changes shown above, then repeat the command with --yes',
      details: { plan: outcome.plan },
    });
  }
  context.terminal.result(outcome, ({ finished, plan }) =>
    [
      ...finished.map((role) => `finished the interrupted rotation of the ${role} key`),
      ...(plan === null ? [] : ['signed and published; hosts follow at their next check']),
      ...(plan?.keys.some(({ change, role }) => change === 'removed' && OFFLINE.has(role)) === true ||
      finished.length > 0
        ? ['the old key is kept in retired/ beside the new one: back up the new one, then destroy the old one']
        : []),
    ].join('\n'),
  );
}

const OFFLINE: ReadonlySet<string> = new Set(['root', 'targets']);

function choiceOf(
  roles: readonly RotatedRole[],
  { keep, drop, reason }: RotateOptions,
): Pick<RotateKeysOptions, 'keep' | 'drop' | 'reason'> {
  if (!roles.includes('release') && (keep !== undefined || drop !== undefined)) {
    throw new CliError('usage', '--keep and --drop need the role release: its key signs livepatches');
  }
  if (reason !== undefined && drop === undefined) throw new CliError('usage', '--reason needs --drop');
  const all = keep?.includes('all') === true;
  if (all && keep.length > 1) throw new CliError('usage', '--keep takes all, or livepatches by name');
  return {
    ...(keep === undefined ? {} : { keep: all ? 'all' : keep.map(nameOf) }),
    ...(drop === undefined ? {} : { drop: drop.map(nameOf) }),
    ...(reason === undefined ? {} : { reason }),
  };
}

function nameOf(text: string): LivepatchName {
  const [, buildId, serial] = /^([0-9a-f]{40})\/([1-9]\d{0,9})$/.exec(text) ?? [];
  if (buildId !== undefined && serial !== undefined) return { buildId, serial: Number(serial) };
  throw new CliError('usage', `${shownLine(text)} is not BUILD-ID/SERIAL`, { hint: 'kmend keys status lists them' });
}

const WHERE = { here: 'here', waiting: 'here, in next/', 'not-here': 'not here', server: 'the server' } as const;

function statusText({ anchor, root, roles, waiting }: KeysStatus): string {
  const rows = roles.map(({ role, version, expires, keys, where }) => [
    shownLine(role),
    String(version),
    shownLine(expires),
    keys.map((key) => key.slice(0, 12)).join(' '),
    WHERE[where],
  ]);
  const remarks = roles.flatMap(({ role, floor, foreign = [] }) => [
    ...(floor === undefined ? [] : [`${shownLine(role)}: floor at serial ${floor}`]),
    ...(foreign.length === 0 ? [] : [`${shownLine(role)}: not signed on this machine: serial ${foreign.join(', ')}`]),
  ]);
  return [
    `verified from root ${anchor}, pinned beside the keys, to root ${root}`,
    table(['ROLE', 'VERSION', 'HOLDS UNTIL', 'KEY', 'WHERE'], rows),
    ...remarks,
    ...waiting.map((role) => `a new ${role} key is in next/: rotate again to continue with it`),
    ...(roles.some(({ where }) => where === 'waiting')
      ? ['a rotation was interrupted after it was published: repeat the command to finish it']
      : []),
  ].join('\n');
}
