import { once } from 'node:events';
import { startServer } from '@kmend/server';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { DEFAULT_PORT, dataDirectory, keysDirectory } from '../server-options.ts';
import { describeCreated } from './repo.ts';

interface ListenOptions {
  readonly dataDir?: string;
  readonly keys?: string;
  readonly host: string;
  readonly port: string;
  readonly cert?: string;
  readonly key?: string;
  readonly behindProxy?: boolean;
  readonly trustProxy?: string[];
  readonly openPackages?: boolean;
  readonly newStore?: boolean;
  readonly reportInterval: string;
  readonly silentAfter: string;
  readonly seatDays: string;
  readonly log: 'debug' | 'info' | 'warn' | 'error';
}

export const serverCommand: Register = ({ program, action }) => {
  program
    .command('server')
    .description('run the patch server until it is interrupted; the first run makes keys and repository')
    .option('--data-dir <dir>', 'everything the server keeps (default: server, under KMEND_HOME)')
    .option('--keys <dir>', 'where the first run puts root and release key (default: keys, under KMEND_HOME)')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0: any free one', String(DEFAULT_PORT))
    .option('--cert <file>', 'TLS certificate, PEM; needed where the address is not loopback; SIGHUP has it read again')
    .option('--key <file>', 'its key, PEM')
    .option('--behind-proxy', 'a proxy in front ends TLS; where it is on another machine, name it with --trust-proxy')
    .option(
      '--trust-proxy <address...>',
      'addresses or networks of proxies in front, whose X-Forwarded-For is believed (default with --behind-proxy: this machine)',
    )
    .option('--open-packages', 'serve package repositories to anyone, without an activation key')
    .option('--new-store', 'start with an empty store although there was one: every host has to enrol again')
    .option('--report-interval <seconds>', 'how often a host reports where nothing changes, 60 to 604800', '86400')
    .option('--silent-after <number>', 'a host counts as silent once so many of these reports are missing', '2')
    .option('--seat-days <days>', 'an enrolled host without a word for so long leaves its seat', '90')
    .option('--log <level>', 'debug, info, warn or error', 'info')
    .action(
      action(async (context, options: ListenOptions) => {
        const port = Number(options.port);
        if (!Number.isInteger(port) || port < 0 || port > 65_535)
          throw new CliError('usage', `${options.port} is not a port`);
        if ((options.cert === undefined) !== (options.key === undefined)) {
          throw new CliError('usage', '--cert and --key belong together');
        }
        const { cert, key } = options;
        const server = await startServer({
          dataDir: options.dataDir ?? dataDirectory(context),
          initialize: { offlineKeys: options.keys ?? keysDirectory(context) },
          host: options.host,
          port,
          behindProxy: options.behindProxy ?? false,
          trustProxy: options.trustProxy ?? [],
          newStore: options.newStore ?? false,
          openPackages: options.openPackages ?? false,
          times: {
            reportSeconds: whole(options.reportInterval, '--report-interval', 60, 7 * 86_400),
            missedReports: whole(options.silentAfter, '--silent-after', 1, 1000),
            seatMs: whole(options.seatDays, '--seat-days', 1, 36_500) * 86_400_000,
          },
          logLevel: options.log,
          // Results go to stdout; the log is for stderr.
          logStream: { write: (text: string) => void process.stderr.write(text) },
          ...(cert !== undefined && key !== undefined ? { tls: { cert, key } } : {}),
        });
        const deaf = context.hangups.listen(() => void server.reload());
        try {
          const { url, repositoryUrl, packagesUrl, tokenPath, created } = server;
          context.terminal.result({ url, repositoryUrl, packagesUrl, tokenPath, created: created ?? null }, (data) =>
            [
              ...(data.created === null ? [] : [describeCreated(data.created), '']),
              `patch server      ${data.url}`,
              `signed repository ${data.repositoryUrl}`,
              `packages          ${data.packagesUrl}/apt, ${data.packagesUrl}/dnf`,
              `operator's token  ${data.tokenPath}`,
            ].join('\n'),
          );
          if (!context.signal.aborted) await once(context.signal, 'abort');
        } finally {
          deaf();
          await server.close();
        }
      }),
    );
};

function whole(text: string, option: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= least && value <= most) return value;
  throw new CliError('usage', `${option} takes a whole number from ${least} to ${most}, not ${text}`);
}
