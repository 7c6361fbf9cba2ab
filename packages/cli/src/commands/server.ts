import { once } from 'node:events';
import { join } from 'node:path';
import { systemClock } from '@kmend/base/node';
import { startServer } from '@kmend/server';
import { type CreatedRepository, createRepository } from '@kmend/trust';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { DEFAULT_PORT, dataDirectory, keysDirectory } from '../server-options.ts';

interface RepositoryOptions {
  readonly dataDir?: string;
  readonly keys?: string;
}

interface ListenOptions extends RepositoryOptions {
  readonly host: string;
  readonly port: string;
  readonly cert?: string;
  readonly key?: string;
  readonly behindProxy?: boolean;
  readonly log: 'debug' | 'info' | 'warn' | 'error';
}

export const repoCommands: Register = ({ program, action }) => {
  const repo = program.command('repo').description('the signed repository');
  repo
    .command('init')
    .description('make keys and an empty signed repository, without starting a server')
    .option('--data-dir <dir>', "the server's folder (default: server, under KMEND_HOME)")
    .option('--keys <dir>', 'folder for the root and the release key (default: keys, under KMEND_HOME)')
    .action(
      action(async (context, options: RepositoryOptions) => {
        const dataDir = options.dataDir ?? dataDirectory(context);
        const created = await createRepository({
          offlineKeys: options.keys ?? keysDirectory(context),
          onlineKeys: join(dataDir, 'keys'),
          repository: join(dataDir, 'repository'),
          clock: systemClock,
        });
        context.terminal.result(created, describeCreated);
      }),
    );
};

export const serverCommand: Register = ({ program, action }) => {
  program
    .command('server')
    .description('run the patch server until it is interrupted; the first run makes keys and repository')
    .option('--data-dir <dir>', 'everything the server keeps (default: server, under KMEND_HOME)')
    .option('--keys <dir>', 'where the first run puts root and release key (default: keys, under KMEND_HOME)')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0: any free one', String(DEFAULT_PORT))
    .option('--cert <file>', 'TLS certificate, PEM; needed where the address is not loopback')
    .option('--key <file>', 'its key, PEM')
    .option('--behind-proxy', 'a proxy in front ends TLS')
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
          logLevel: options.log,
          // Results go to stdout; the log is for stderr.
          logStream: { write: (text: string) => void process.stderr.write(text) },
          ...(cert !== undefined && key !== undefined ? { tls: { cert, key } } : {}),
        });
        try {
          const { url, repositoryUrl, tokenPath, created } = server;
          context.terminal.result({ url, repositoryUrl, tokenPath, created: created ?? null }, (data) =>
            [
              ...(data.created === null ? [] : [describeCreated(data.created), '']),
              `patch server      ${data.url}`,
              `signed repository ${data.repositoryUrl}`,
              `operator's token  ${data.tokenPath}`,
            ].join('\n'),
          );
          if (!context.signal.aborted) await once(context.signal, 'abort');
        } finally {
          await server.close();
        }
      }),
    );
};

function describeCreated(created: CreatedRepository): string {
  return [
    `made a signed repository in ${created.repository}`,
    `hosts need its trust root: ${created.root}`,
    'keys:',
    ...created.keys.map(
      ({ role, kind, path, purpose }) => `  ${role.padEnd(9)} ${kind.padEnd(7)} ${path}\n${' '.repeat(20)}${purpose}`,
    ),
    'Back up the offline keys now, and keep them off the server: whoever has the release key can load code into every host.',
  ].join('\n');
}
