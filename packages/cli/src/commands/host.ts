import type { HostSummary } from '@kmend/protocol';
import type { ApiClient } from '@kmend/server';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { connect, type ServerOptions, withServer } from '../server-options.ts';
import { table } from '../terminal.ts';
import { importCommand } from './host-import.ts';
import { hostRow, hostText } from './host-text.ts';

interface ListOptions extends ServerOptions {
  readonly search?: string;
}

const PAGE = 500;

export const hostCommands: Register = (registrar) => {
  const { program, action } = registrar;
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
        table(['ID', 'HOST', 'KERNEL', 'CHANNEL', 'SERIAL', 'COVERAGE', 'LAST REPORT'], data.hosts.map(hostRow)),
      );
    }),
  );
  withServer(host.command('show').description('one host in full').argument('<id|hostname>')).action(
    action(async (context, name: string, options: ServerOptions) => {
      const api = await connect(context, options);
      const id = /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name) ? name : await idOf(api, name);
      context.terminal.result(await api.showHost(id), hostText);
    }),
  );
  importCommand(host, registrar);
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
