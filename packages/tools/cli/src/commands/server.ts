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
    .description('Run the patch server until it is interrupted. The first run creates keys and repository.')
    .option('--data-dir <dir>', 'Folder for all data of the server (default: server, under KMEND_HOME)')
    .option('--keys <dir>', 'Folder for root and release key, on the first run (default: keys, under KMEND_HOME)')
    .option('--host <address>', 'Address to listen on', '127.0.0.1')
    .option('--port <port>', 'Port to listen on; 0: any free port', String(DEFAULT_PORT))
    .option('--cert <file>', 'TLS certificate (PEM); required unless the address is loopback; SIGHUP reloads it')
    .option('--key <file>', 'Key of the certificate (PEM)')
    .option('--behind-proxy', 'Let a proxy in front end TLS; if it is on another machine, name it with --trust-proxy')
    .option(
      '--trust-proxy <address...>',
      'Addresses or networks of proxies whose X-Forwarded-For is trusted (default with --behind-proxy: this machine)',
    )
    .option('--open-packages', 'Serve package repositories to anyone, without an activation key')
    .option('--new-store', 'Start with an empty store although there was one: every host must enrol again')
    .option('--report-interval <seconds>', 'Interval of reports where nothing changes, 60 to 604800', '86400')
    .option('--silent-after <number>', 'Missing reports after which a host counts as silent', '2')
    .option('--seat-days <days>', 'Days without a report after which a host leaves its seat', '90')
    .option('--log <level>', 'Log level: debug, info, warn or error', 'info')
    .action(
      action(async (context, options: ListenOptions) => {
        const port = Number(options.port);
        if (!Number.isInteger(port) || port < 0 || port > 65_535)
          throw new CliError('usage', `${options.port} is not a port`);
        if ((options.cert === undefined) !== (options.key === undefined)) {
          throw new CliError('usage', '--cert and --key need each other');
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
