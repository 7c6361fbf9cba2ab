import { type Fix, importFromDebian, importFromGit, importFromPatch } from '@kmend/builder';
import { Severity } from '@kmend/protocol';
import { Option } from 'commander';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { storesOf } from '../stores.ts';
import { table } from '../terminal.ts';

interface ImportOptions {
  readonly id: string;
  readonly title?: string;
  readonly severity: Severity;
  readonly hardware?: boolean;
  readonly from?: string;
  readonly to?: string;
  readonly path?: string[];
  readonly suite: string;
  readonly patch?: string;
  readonly git?: string;
  readonly commit?: string;
  readonly replace?: boolean;
}

export const fixCommands: Register = ({ program, action }) => {
  const fix = program.command('fix').description('fixes: source changes with an id, to build livepatches from');
  fix
    .command('import')
    .description('make a fix of a Debian delta, a patch file, or a git commit')
    .requiredOption('--id <id>', 'a CVE or a name')
    .option('--title <text>', "default: the changelog's, the patch's or the commit's")
    .addOption(new Option('--severity <level>').choices(Severity.options).default('unknown'))
    .option('--hardware', 'it mitigates a hardware flaw (Spectre-class)')
    .option('--from <version>', 'Debian version of the kernel source before the fix, e.g. 6.1.170-3')
    .option('--to <version>', 'and with it, e.g. 6.1.176-1')
    .option('--path <file...>', 'limit the difference to these files')
    .option('--suite <suite>', 'Debian suite of the versions', 'bookworm')
    .option('--patch <file>', 'a unified diff')
    .option('--git <directory>', 'a git repository')
    .option('--commit <sha>', 'and one of its commits')
    .option('--replace', 'replace a fix of the same id')
    .action(
      action(async (context, options: ImportOptions) => {
        const { edges, sources, fixes } = storesOf(context);
        const words = {
          id: options.id,
          title: options.title,
          severity: options.severity,
          hardware: options.hardware ?? false,
        };
        const imported = await from(options, {
          debian: (from, to, paths) =>
            importFromDebian(edges, sources, words, { suite: options.suite, from, to, paths }),
          patch: (file) => importFromPatch(words, file),
          git: (directory, commit) => importFromGit(edges, words, directory, commit),
        });
        await fixes.add(imported, options.replace ?? false);
        context.terminal.result(summary(imported), (data) => `${data.id}: ${data.title}\n  ${data.files.join('\n  ')}`);
      }),
    );
  fix
    .command('list')
    .description('all fixes')
    .action(
      action(async (context) => {
        const fixes = (await storesOf(context).fixes.list()).map(summary);
        context.terminal.result({ fixes }, (data) =>
          data.fixes.length === 0
            ? 'no fix yet; kmend fix import --help tells how to add one'
            : table(
                ['ID', 'SEVERITY', 'FILES', 'TITLE'],
                data.fixes.map((entry) => [entry.id, entry.severity, String(entry.files.length), entry.title]),
              ),
        );
      }),
    );
  fix
    .command('show')
    .description('one fix with its patch')
    .argument('<id>')
    .action(
      action(async (context, id: string) => {
        const found = await storesOf(context).fixes.open(id);
        const data = { ...summary(found), origin: found.origin, patch: found.patch };
        context.terminal.result(data, () =>
          [
            `id        ${found.id}`,
            `title     ${found.title}`,
            `severity  ${found.severity}`,
            `hardware  ${found.hardware ? 'mitigates a hardware flaw' : 'no'}`,
            `origin    ${JSON.stringify(found.origin)}`,
            `sha256    ${found.sha256}`,
            '',
            found.patch,
          ].join('\n'),
        );
      }),
    );
};

interface Origins {
  debian(from: string, to: string, paths: readonly string[]): Promise<Fix>;
  patch(file: string): Promise<Fix>;
  git(directory: string, commit: string): Promise<Fix>;
}

async function from(options: ImportOptions, origins: Origins): Promise<Fix> {
  const { from, to, path = [], patch, git, commit } = options;
  const given = [from ?? to, patch, git ?? commit].filter((value) => value !== undefined);
  if (given.length === 1) {
    if (patch !== undefined) return await origins.patch(patch);
    if (git !== undefined && commit !== undefined) return await origins.git(git, commit);
    if (from !== undefined && to !== undefined && path.length > 0) return await origins.debian(from, to, path);
  }
  throw new CliError('usage', 'say where the fix comes from, in one way', {
    hint: 'either --from VERSION --to VERSION --path FILE..., or --patch FILE, or --git DIR --commit SHA',
  });
}

function summary(fix: Fix) {
  const { id, title, severity, hardware, sha256, files } = fix;
  return { id, title, severity, hardware, sha256, files };
}
