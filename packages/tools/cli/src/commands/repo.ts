import { join } from 'node:path';
import { systemClock } from '@kmend/base/node';
import { type Bundle, type CreatedRepository, createBundle, createRepository } from '@kmend/trust';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { dataDirectory, keysDirectory } from '../server-options.ts';
import { buildIdOf } from '../workshop.ts';
import { packageCommands } from './repo-packages.ts';

interface RepositoryOptions {
  readonly dataDir?: string;
  readonly keys?: string;
}

interface BundleCommandOptions {
  readonly kernel: readonly string[];
  readonly out: string;
  readonly repository?: string;
  readonly root?: string;
}

export const repoCommands: Register = ({ program, action }) => {
  const repo = program.command('repo').description('Manage the signed repository and the package repositories.');
  repo
    .command('init')
    .description('Create keys and an empty signed repository, without starting a server.')
    .option('--data-dir <dir>', "The server's folder (default: server, under KMEND_HOME)")
    .option('--keys <dir>', 'Folder for the root and the release key (default: keys, under KMEND_HOME)')
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
  repo
    .command('bundle')
    .description('Write all that hosts of some kernels need into one file, for hosts without a network.')
    .requiredOption('--kernel <release|build-id...>', 'Kernels that the hosts run')
    .requiredOption('--out <file>', 'Bundle file to write')
    .option('--repository <dir|url>', 'Folder or URL of the repository (default: that of the server on this machine)')
    .option('--root <file>', 'Oldest trust root that hosts hold (default: 1.root.json of that folder)')
    .action(
      action(async (context, options: BundleCommandOptions) => {
        const repository = options.repository ?? join(dataDirectory(context), 'repository');
        const bundle = await createBundle({
          repository,
          root: options.root ?? defaultRoot(repository),
          kernels: await Promise.all(options.kernel.map((name) => buildIdOf(context, name))),
          out: options.out,
          signal: context.signal,
        });
        context.terminal.result({ ...bundle, validUntil: bundle.validUntil.toISOString() }, describeBundle);
      }),
    );
  packageCommands(repo, { action });
};

function defaultRoot(repository: string): string {
  if (!/^https?:/.test(repository)) return join(repository, 'metadata', '1.root.json');
  throw new CliError('usage', '--repository with an address needs --root', {
    hint: 'name the root.json that the hosts were enrolled with',
  });
}

function describeBundle({
  path,
  size,
  sha256,
  kernels,
  validUntil,
}: Omit<Bundle, 'validUntil'> & { validUntil: string }) {
  return [
    `${path}: ${size} bytes, SHA-256 ${sha256}`,
    ...kernels.map(
      ({ buildId, serials }) => `  ${buildId}: ${serials.length === 0 ? 'none' : `serial ${serials.join(', ')}`}`,
    ),
    `hosts accept it until ${validUntil}`,
  ].join('\n');
}

export function describeCreated(created: CreatedRepository): string {
  return [
    `made a signed repository in ${created.repository}`,
    `hosts need its trust root: ${created.root}`,
    'keys:',
    ...created.keys.map(
      ({ role, kind, path, purpose }) => `  ${role.padEnd(9)} ${kind.padEnd(7)} ${path}\n${' '.repeat(20)}${purpose}`,
    ),
    'root.json beside them: the pinned root that signing starts from',
    'Back up the offline keys now, and keep them off the server:',
    'with the release key and the operator token, anyone can load code into every host.',
  ].join('\n');
}
