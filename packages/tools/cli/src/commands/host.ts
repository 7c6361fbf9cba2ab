import type { HostSummary } from '@kmend/protocol';
import type { ApiClient } from '@kmend/server';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { connect, type ServerOptions, withServer } from '../server-options.ts';
import { table } from '../terminal.ts';
import { importCommand } from './host-import.ts';
import { HOST_COLUMNS, hostRows, hostText } from './host-text.ts';

interface ListOptions extends ServerOptions {
  readonly search?: string;
}

const PAGE = 500;

export const hostCommands: Register = (registrar) => {
  const { program, action } = registrar;
  const host = program.command('host').description('Manage enrolled hosts.');
  withServer(
    host
      .command('list')
      .description('List all hosts, as they last reported.')
      .option('--search <text>', 'Part of a host name'),
  ).action(
    action(async (context, options: ListOptions) => {
      const api = await connect(context, options);
      const hosts = await all(api, options.search);
      context.terminal.result({ hosts }, (data) => table(HOST_COLUMNS, data.hosts.flatMap(hostRows)));
    }),
  );
  withServer(host.command('show').description('Show one host in full.').argument('<id|hostname>')).action(
    action(async (context, name: string, options: ServerOptions) => {
      const api = await connect(context, options);
      context.terminal.result(await api.showHost(await idOf(api, name)), hostText);
    }),
  );
  withServer(
    host
      .command('remove')
      .description('Remove hosts: frees their seats and invalidates their tokens.')
      .argument('<id|hostname...>'),
  ).action(
    action(async (context, names: string[], options: ServerOptions) => {
      const api = await connect(context, options);
      // All are found before one is removed.
      const ids: string[] = [];
      for (const name of names) ids.push(await idOf(api, name));
      for (const id of ids) await api.removeHost(id);
      context.terminal.result({ removed: ids }, ({ removed }) =>
        removed
          .map(
            (id) =>
              `${id} is removed; if its agent still runs, it keeps its livepatches and reports that it must enrol again`,
          )
          .join('\n'),
      );
    }),
  );
  withServer(
    host
      .command('reset')
      .description('Restart the count of a host’s reports, after another machine disturbed it.')
      .argument('<id|hostname>'),
  ).action(
    action(async (context, name: string, options: ServerOptions) => {
      const api = await connect(context, options);
      const id = await idOf(api, name);
      await api.resetHost(id);
      context.terminal.result({ id }, () => `${id}: the next report is accepted, whatever its number`);
    }),
  );
  importCommand(host, registrar);
};

/** A host's id, given as such or as its name. */
async function idOf(api: ApiClient, hostname: string): Promise<string> {
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(hostname)) return hostname;
  const found = (await all(api, hostname)).filter((host) => host.hostname === hostname);
  if (found[0] !== undefined && found.length === 1) return found[0].id;
  throw new CliError(
    'host-unknown',
    `${found.length === 0 ? 'no host is' : `${found.length} hosts are`} named ${hostname}`,
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
