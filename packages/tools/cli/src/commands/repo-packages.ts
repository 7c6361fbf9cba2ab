import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { run, systemClock, writeFileAtomic } from '@kmend/base/node';
import {
  aptSetup,
  createKey,
  Depot,
  type DepotKernel,
  dnfSetup,
  followersOf,
  measure,
  type PublishedRepository,
  publishApt,
  publishDnf,
  RepositorySettings,
  type StackMeasure,
  SUITES,
  type Suite,
  stackOf,
} from '@kmend/distro';
import { packFolder } from '@kmend/server';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Context } from '../context.ts';
import { CliError } from '../error.ts';
import type { Registrar } from '../program.ts';
import { type ProofOptions, proofDemand, withProofDemand } from '../proof-options.ts';
import { connect, keysDirectory, type ServerOptions, withServer } from '../server-options.ts';
import { workshopOf } from '../workshop.ts';

interface InitOptions {
  readonly origin: string;
  readonly maintainer: string;
  readonly url: string;
  readonly validDays?: number;
  readonly keys?: string;
}

interface AddOptions extends ProofOptions {
  readonly takeOut?: boolean;
}

interface RepositoryOptions extends ServerOptions {
  readonly keys?: string;
  readonly passphraseFile?: string;
  /** False: it is only written. */
  readonly upload: boolean;
  readonly suite: Suite;
  readonly open?: boolean;
}

/** Livepatches as packages (docs/repositories.md): the depot, and the APT and DNF repositories made of it. */
export function packageCommands(repo: Command, { action }: Pick<Registrar, 'action'>): void {
  const packages = repo.command('packages').description('Manage livepatches as packages.');
  packages
    .command('init')
    .description('Create the depot of packages and the OpenPGP key that signs them.')
    .requiredOption('--origin <name>', 'Publisher, as hosts see it; cannot change later')
    .requiredOption('--maintainer <"Name <address>">', 'Maintainer of every package, and owner of the key')
    .requiredOption('--url <url>', 'URL of the repositories for hosts; apt/ and dnf/ are below it')
    .option('--valid-days <n>', 'Days after which apt rejects a repository (default 14)', wholeNumber)
    .option('--keys <dir>', 'Folder for the key, packages.key (default: keys, under KMEND_HOME)')
    .action(
      action(async (context, options: InitOptions) => {
        const settings = settingsOf(options);
        await Depot.create(depotDirectory(context), { clock: systemClock });
        const keyFile = keyPath(context, options);
        let fingerprint: string;
        try {
          await mkdir(options.keys ?? keysDirectory(context), { recursive: true, mode: 0o700 });
          const [, name = '', email = ''] = /^(.*) <(.*)>$/.exec(settings.maintainer) ?? [];
          fingerprint = await createKey(run, { keyFile, name, email, time: systemClock.now() });
          await writeFileAtomic(settingsPath(context), `${JSON.stringify(settings, null, 1)}\n`);
        } catch (error) {
          // A depot without its key would bar the next attempt.
          await rm(depotDirectory(context), { recursive: true, force: true });
          throw error;
        }
        const result = { depot: depotDirectory(context), keyFile, fingerprint };
        context.terminal.result(
          result,
          () => `depot ${result.depot}\nkey ${keyFile}, fingerprint ${fingerprint}: keep a copy offline`,
        );
      }),
    );
  const add = packages
    .command('add')
    .description(
      'Add livepatches to the depot, in this order: stacked ones onto the stack, a cumulative one in its place.',
    )
    .argument('<dir...>', 'Folder that kmend build --out wrote')
    .option('--take-out', 'Let apt remove the stack when it installs the cumulative package (docs/repositories.md)');
  withProofDemand(add).action(
    action(async (context, directories: string[], { takeOut, ...options }: AddOptions) => {
      const demand = proofDemand(options);
      const depot = await openDepot(context);
      const taken = [];
      for (const directory of directories) {
        const { entry, serial, stack, unchanged } = await depot.take(directory, {
          ...demand,
          takeOut: takeOut ?? false,
        });
        taken.push({ package: entry.package, version: entry.version, serial, stack, unchanged });
      }
      context.terminal.result({ taken }, (data) =>
        data.taken
          .map((it) => `${it.package} ${it.version}${it.unchanged ? ' is there already' : ''}: ${stackText(it.stack)}`)
          .join('\n'),
      );
    }),
  );
  packages
    .command('withdraw')
    .description("Withdraw a kernel's newest livepatch, or the statement that it needs none.")
    .argument('<release>')
    .action(
      action(async (context, release: string) => {
        const { entry, serial } = await (await openDepot(context)).withdraw(release);
        const result =
          entry === undefined ? { release, serial } : { package: entry.package, version: entry.version, serial };
        context.terminal.result(result, () =>
          entry === undefined
            ? `the statement that ${release} needs no livepatch is withdrawn; publish the repositories again`
            : `${entry.package} ${entry.version} is withdrawn; publish the repositories again`,
        );
      }),
    );
  packages
    .command('none')
    .description('State, signed, that a fresh kernel needs no livepatch yet.')
    .argument('<release>')
    .action(
      action(async (context, name: string) => {
        const { release, buildId, version } = await workshopOf(context).kernels.open(name);
        const { serial } = await (await openDepot(context)).needsNone({ release, buildId, version });
        context.terminal.result(
          { release, buildId, serial },
          (data) => `state ${data.serial}: ${data.release} needs no livepatch yet; publish the repositories again`,
        );
      }),
    );
  packages
    .command('phase')
    .description(
      "Set the share of hosts that take a kernel's newest state (apt's phased updates); 0: only the suite early.",
    )
    .argument('<release>')
    .argument('<percent>', '0 to 100', wholeNumber)
    .action(
      action(async (context, release: string, percent: number) => {
        const { serial } = await (await openDepot(context)).phase(release, percent);
        context.terminal.result(
          { release, serial, percent },
          (data) => `${data.percent} % of the hosts of ${data.release} take state ${data.serial}; publish again`,
        );
      }),
    );
  packages
    .command('list')
    .description('List kernels, their stacks and depths.')
    .action(
      action(async (context) => {
        const kernels = (await (await openDepot(context)).kernels()).map(kernelData);
        const followers = followersOf(kernels.map(({ release }) => release));
        context.terminal.result({ kernels, followers }, (data) =>
          data.kernels.length === 0
            ? 'nothing is published'
            : [
                ...data.kernels.map(kernelText),
                ...data.followers.map((it) => `${it.name} follows ${it.releases.join(', ')}`),
              ].join('\n'),
        );
      }),
    );
  for (const format of ['apt', 'dnf'] as const) repositoryCommand(repo, format, { action });
}

function repositoryCommand(repo: Command, format: 'apt' | 'dnf', { action }: Pick<Registrar, 'action'>): void {
  const command = repo
    .command(format)
    .description(
      `Write the ${format.toUpperCase()} repository of all packages, upload it, and print the setup of a host.`,
    )
    .option('--no-upload', 'Only write it: static files for any web server')
    .option('--keys <dir>', 'Folder with packages.key (default: keys, under KMEND_HOME)')
    .option('--passphrase-file <file>', 'File whose first line is the passphrase of the key')
    .option('--open', 'Print a setup without an activation key')
    .addOption(new Option('--suite <name>', 'Suite in the printed setup').choices(SUITES).default('updates'));
  withServer(command).action(
    action(async (context, options: RepositoryOptions) => {
      const settings = await readSettings(context);
      const url = `${settings.url.replace(/\/+$/, '')}/${format}/`;
      const publish = format === 'apt' ? publishApt : publishDnf;
      const published = await publish({
        depot: await openDepot(context),
        key: { keyFile: keyPath(context, options), passphraseFile: options.passphraseFile },
        settings: { ...settings, url },
        out: join(depotDirectory(context), format),
        run,
        clock: systemClock,
        progress: context.terminal.progress,
      });
      if (options.upload) await upload(context, options, format, published);
      const setup = (format === 'apt' ? aptSetup : dnfSetup)({
        url,
        keyring: published.keyring,
        suite: options.suite,
        gated: options.open !== true,
        allowPlainHttp: url.startsWith('http:'),
      });
      const { out, fingerprint, packages, validUntil } = published;
      const result = { format, out, url, fingerprint, packages, validUntil, uploaded: options.upload, ...setup };
      context.terminal.result(result, (data) =>
        [
          `${data.packages.length} packages in ${data.out}${data.uploaded ? ', served at' : ', for'} ${data.url}`,
          ...(data.validUntil === undefined
            ? []
            : [`hosts accept it until ${data.validUntil}: publish again before then`]),
          'For a root shell of a host:',
          '',
          data.snippet,
        ].join('\n'),
      );
    }),
  );
}

async function upload(
  context: Context,
  options: ServerOptions,
  format: 'apt' | 'dnf',
  { out }: PublishedRepository,
): Promise<void> {
  const api = await connect(context, options);
  await api.publishPackages(format, await packFolder(out), context.terminal.progress);
}

function depotDirectory(context: Context): string {
  return join(context.places.home, 'packages');
}

function settingsPath(context: Context): string {
  return join(depotDirectory(context), 'settings.json');
}

function keyPath(context: Context, { keys }: { readonly keys?: string }): string {
  return join(keys ?? keysDirectory(context), 'packages.key');
}

async function openDepot(context: Context): Promise<Depot> {
  return await Depot.open(depotDirectory(context), { clock: systemClock });
}

function settingsOf(input: unknown): RepositorySettings {
  const parsed = RepositorySettings.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CliError('usage', `${issue?.path.join('.')}: ${issue?.message}`, { cause: parsed.error });
}

async function readSettings(context: Context): Promise<RepositorySettings> {
  const path = settingsPath(context);
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new CliError('not-configured', `there is no depot here: ${cause.message}`, {
      cause,
      hint: 'kmend repo packages init',
    });
  });
  return settingsOf(parseJson(text));
}

function kernelData(kernel: DepotKernel) {
  const { base, stacked } = stackOf(kernel);
  const layers = [...(base === undefined ? [] : [base]), ...stacked];
  const state = kernel.states.at(-1);
  return {
    release: kernel.release,
    buildId: kernel.buildId,
    serial: state?.serial ?? 0,
    phase: state?.phase ?? 100,
    stack: measure({ base, stacked }),
    notNeeded: layers.length === 0 && state?.notNeeded === true && !state.withdrawn,
    packages: layers.map((it) => ({ package: it.package, version: it.version, fixes: it.fixes.map(({ id }) => id) })),
  };
}

function kernelText({ release, serial, phase, stack, notNeeded, packages }: ReturnType<typeof kernelData>): string {
  const share = phase === 0 ? ', for early hosts only' : phase === 100 ? '' : `, for ${phase} % of the hosts`;
  const head = `${release}: state ${serial}${share}; ${notNeeded ? 'needs no livepatch yet' : stackText(stack)}`;
  return [head, ...packages.map((it) => `  ${it.package} ${it.version}: ${it.fixes.join(', ')}`)].join('\n');
}

function stackText({ depth, functions, covered }: StackMeasure): string {
  return `${depth} deep, ${functions} functions, ${covered} of them covered several times`;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('not a whole number');
  return Number(text);
}
