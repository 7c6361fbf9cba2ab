import { join } from 'node:path';
import { type ApiClient, createApiClient, readOperatorToken } from '@kmend/server';
import type { Command } from 'commander';
import type { Context } from './context.ts';

/** How a command finds the patch server. */
export interface ServerOptions {
  readonly server?: string;
  readonly tokenFile?: string;
}

export const DEFAULT_PORT = 8470;

/** Options of every command that talks to the server; the environment serves as well. */
export function withServer(command: Command): Command {
  return command
    .option('--server <url>', `URL of the patch server (KMEND_SERVER; default http://127.0.0.1:${DEFAULT_PORT})`)
    .option(
      '--token-file <file>',
      "File with the operator's token (or KMEND_TOKEN; default: that of the server on this machine)",
    );
}

export async function connect(context: Context, options: ServerOptions): Promise<ApiClient> {
  const url = options.server ?? context.env['KMEND_SERVER'] ?? `http://127.0.0.1:${DEFAULT_PORT}`;
  const file = options.tokenFile ?? join(dataDirectory(context), 'operator-token');
  const token = await readOperatorToken({ env: context.env, file });
  return createApiClient({ url, token, signal: context.signal });
}

/** Default folder of the data of this machine's server. */
export function dataDirectory(context: Context): string {
  return join(context.places.home, 'server');
}

/** Default folder of the root and release keys. */
export function keysDirectory(context: Context): string {
  return join(context.places.home, 'keys');
}
