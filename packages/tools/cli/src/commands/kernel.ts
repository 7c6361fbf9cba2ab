import { readFile } from 'node:fs/promises';
import { type Kernel, type KernelImage, parseConfig, parseSymvers, readSymbols, telling } from '@kmend/kernel';
import { addLocalKernel, removeKernel, type Workshop } from '@kmend/pipeline';
import type { Context } from '../context.ts';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { megabytes, table } from '../terminal.ts';
import { usingWorkshop, workshopOf } from '../workshop.ts';

export const kernelCommands: Register = ({ program, action }) => {
  const kernel = program.command('kernel').description('Manage the kernels that livepatches are built for.');
  kernel
    .command('add')
    .description("Add a kernel: fetched from Debian's archive and verified, or one of your own.")
    .argument(
      '[suite/release]',
      'e.g. bookworm/6.1.0-47-amd64, or =<version> behind it; with --image-only also <suite/version[/flavour]>',
    )
    .option('--image-only', 'Fetch only the image and its modules, to compare builds with a fixed kernel')
    .option(
      '--local <path...>',
      'Add your own kernel: a folder with vmlinuz, modules, config and Module.symvers, or the packages of make bindeb-pkg',
    )
    .option('--source <dir>', 'With --local: the source tree that the kernel was built from')
    .option('--build-root <dir>', "With --local: the system that has the kernel's compiler (default: this machine's)")
    .action(
      action(async (context, spec: string | undefined, options: AddOptions) => {
        const added = await usingWorkshop(context, (workshop) => add(context, workshop, spec, options));
        context.terminal.result(summary(added), (data) => `${data.release} is in the store (build id ${data.buildId})`);
      }),
    );
  kernel
    .command('list')
    .description('List the kernels in the store.')
    .action(
      action(async (context) => {
        const workshop = workshopOf(context);
        const kernels = (await workshop.kernels.list()).map(summary);
        const images = (await workshop.images.list()).map(summary);
        context.terminal.result({ kernels, images }, (data) =>
          data.kernels.length + data.images.length === 0
            ? 'no kernel yet; add one, e.g.: kmend kernel add bookworm/6.1.0-47-amd64'
            : table(
                ['RELEASE', 'SOURCE', 'SUITE', 'BUILD ID'],
                [
                  ...data.kernels.map((entry) => [entry.release, entry.version, entry.suite, entry.buildId]),
                  ...data.images.map((entry) => [
                    entry.release,
                    entry.version,
                    entry.suite,
                    `${entry.buildId} (image only)`,
                  ]),
                ],
              ),
        );
      }),
    );
  kernel
    .command('show')
    .description('Show one kernel: build id, compiler, important options, symbols.')
    .argument('<release|build-id>')
    .action(
      action(async (context, name: string) => {
        const found = await workshopOf(context).kernels.open(name);
        const details = await detailsOf(found);
        context.terminal.result(details, (data) =>
          [
            ...Object.entries({
              release: data.release,
              'build id': data.buildId,
              source: `${data.sourcePackage ?? 'your own,'} ${data.version} (${data.suite})`,
              compiler: data.compiler,
              symbols: `${data.symbols} in kallsyms, ${data.exports} exported`,
              folder: data.directory,
            }).map(([key, value]) => `${key.padEnd(10)}${value}`),
            'options',
            ...Object.entries(data.options).map(([option, value]) => `  ${option}=${value}`),
          ].join('\n'),
        );
      }),
    );
  kernel
    .command('remove')
    .description('Remove a kernel, or an image, and its prepared tree. Fixes and livepatches stay.')
    .argument('<release|build-id>')
    .action(
      action(async (context, name: string) => {
        const { what, bytes } = await removeKernel(workshopOf(context), name);
        context.terminal.result(
          { removed: what, bytes },
          (data) => `removed ${data.removed}: freed ${megabytes(data.bytes)}`,
        );
      }),
    );
};

interface AddOptions {
  readonly imageOnly?: boolean;
  readonly local?: string[];
  readonly source?: string;
  readonly buildRoot?: string;
}

async function add(
  context: Context,
  workshop: Workshop,
  spec: string | undefined,
  { imageOnly = false, local, source, buildRoot }: AddOptions,
): Promise<KernelImage> {
  if (local === undefined) {
    if (source !== undefined || buildRoot !== undefined)
      throw new CliError('usage', '--source and --build-root need --local');
    if (spec === undefined)
      throw new CliError('usage', 'name a kernel, e.g. bookworm/6.1.0-47-amd64, or your own with --local');
    return imageOnly ? await workshop.images.add(spec) : await addedKernel(context, workshop, spec);
  }
  if (spec !== undefined || imageOnly)
    throw new CliError('usage', '--local takes no kernel of the archive, and no --image-only');
  if (source === undefined)
    throw new CliError('usage', '--local needs --source: the source tree that the kernel was built from');
  return await addLocalKernel(workshop, { from: local, source, buildRoot });
}

/** Adds a kernel, and says what compiling for it needs. */
async function addedKernel({ terminal }: Context, workshop: Workshop, spec: string): Promise<Kernel> {
  const kernel = await workshop.kernels.add(spec);
  const { system, compiler } = await workshop.workplace(kernel);
  if (system === 'build root')
    terminal.note(`needs ${compiler}: the first build makes a build root of ${kernel.suite} with it, if there is none`);
  if (system === 'nowhere')
    terminal.note(
      `needs ${compiler}: install that compiler on this machine before you build (kmend doctor shows what is missing)`,
    );
  return kernel;
}

function summary(kernel: KernelImage) {
  const { release, buildId, version, suite } = kernel;
  return { release, buildId, version, suite };
}

async function detailsOf(kernel: Kernel) {
  const { paths } = kernel;
  const config = parseConfig(await readFile(paths.config, 'utf8'));
  return {
    ...summary(kernel),
    sourcePackage: kernel.sourcePackage,
    compiler: kernel.compiler.text,
    directory: paths.directory,
    symbols: (await readSymbols(kernel)).size,
    exports: parseSymvers(await readFile(paths.moduleSymvers, 'utf8')).size,
    options: Object.fromEntries(telling.map((option) => [option, config.get(option) ?? 'not set'])),
  };
}
