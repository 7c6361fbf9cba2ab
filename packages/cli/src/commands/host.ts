import type { HostDetail, HostSummary } from '@kmend/protocol';
import type { ApiClient } from '@kmend/server';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { connect, type ServerOptions, withServer } from '../server-options.ts';
import { table } from '../terminal.ts';

interface ListOptions extends ServerOptions {
  readonly search?: string;
}

const PAGE = 500;

export const hostCommands: Register = ({ program, action }) => {
  const host = program.command('host').description('enrolled hosts');
  withServer(
    host
      .command('list')
      .description('all hosts, as they last reported')
      .option('--search <text>', 'part of a host name'),
  ).action(
    action(async (context, options: ListOptions) => {
      const api = await connect(context, options);
      const hosts = await all(api, options.search);
      context.terminal.result({ hosts }, (data) =>
        table(['ID', 'HOST', 'KERNEL', 'CHANNEL', 'SERIAL', 'COVERAGE', 'LAST REPORT'], data.hosts.map(row)),
      );
    }),
  );
  withServer(host.command('show').description('one host in full').argument('<id|hostname>')).action(
    action(async (context, name: string, options: ServerOptions) => {
      const api = await connect(context, options);
      const id = /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name) ? name : await idOf(api, name);
      context.terminal.result(await api.showHost(id), describe);
    }),
  );
};

async function idOf(api: ApiClient, hostname: string): Promise<string> {
  const found = (await all(api, hostname)).filter((host) => host.hostname === hostname);
  if (found[0] !== undefined && found.length === 1) return found[0].id;
  throw new CliError(
    'host-unknown',
    `${found.length === 0 ? 'no host is' : `${found.length} hosts are`} called ${hostname}`,
    {
      hint:
        found.length === 0
          ? 'kmend host list shows all'
          : `name one by its id: ${found.map(({ id }) => id).join(', ')}`,
    },
  );
}

async function all(api: ApiClient, search: string | undefined): Promise<HostSummary[]> {
  const hosts: HostSummary[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const query = {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
      ...(search === undefined ? {} : { search }),
    };
    const page = await api.listHosts(query);
    hosts.push(...page.hosts);
    after = page.next;
  }
  return hosts;
}

function row(host: HostSummary): string[] {
  const { status } = host;
  return [
    host.id,
    host.hostname,
    host.release,
    host.channel,
    serial(host.effectiveSerial),
    status.coverage.state,
    host.lastReport ?? 'never',
  ];
}

function serial(value: number | null): string {
  return value === null ? 'none' : String(value);
}

function describe(host: HostDetail): string {
  const axes = Object.entries(host.status).map(([name, axis]) => {
    const seen = axis.seen === null ? 'never looked at' : `seen ${axis.seen}`;
    return `  ${name.padEnd(11)} ${axis.state.padEnd(14)} ${seen}${axis.detail === undefined ? '' : `: ${axis.detail}`}`;
  });
  return [
    `id        ${host.id}`,
    `host      ${host.hostname}`,
    `kernel    ${host.release} (build id ${host.buildId})`,
    `channel   ${host.channel}`,
    `serial    ${serial(host.effectiveSerial)}`,
    `enrolled  ${host.enrolled}`,
    `reported  ${host.lastReport ?? 'never'}`,
    'status',
    ...axes,
    'loaded',
    ...host.livepatches.map(
      (entry) =>
        `  ${entry.name} (serial ${serial(entry.serial)}) ${entry.transition ? 'in transition' : entry.enabled ? 'enabled' : 'disabled'}`,
    ),
    'events',
    ...host.events.slice(-20).map((event) => `  ${event.at} ${event.code}: ${event.message}`),
  ].join('\n');
}
