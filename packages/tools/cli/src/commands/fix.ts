import { isUtf8 } from 'node:buffer';
import { shownLines } from '@kmend/base';
import type { Fix, HeaderParts } from '@kmend/builder';
import { type CheckedFix, type FixSource, importFix } from '@kmend/pipeline';
import { Severity } from '@kmend/protocol';
import { Option } from 'commander';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { table } from '../terminal.ts';
import { usingWorkshop, workshopOf } from '../workshop.ts';

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
  readonly companions?: true | 'whole' | 'parts';
  readonly check?: boolean;
}

export const fixCommands: Register = ({ program, action }) => {
  const fix = program.command('fix').description('Manage fixes: source changes with an id, to build livepatches from.');
  fix
    .command('import')
    .description('Import a fix from two Debian versions, a patch file, or a git commit.')
    .requiredOption('--id <id>', 'CVE or name')
    .option('--title <text>', 'Title (default: that of the changelog, the patch or the commit)')
    .addOption(new Option('--severity <level>', 'Severity').choices(Severity.options).default('unknown'))
    .option('--hardware', 'Mark the fix as mitigating a hardware flaw (Spectre-class)')
    .option('--from <version>', 'Debian version of the kernel source before the fix, e.g. 6.1.170-3')
    .option('--to <version>', 'Debian version with the fix, e.g. 6.1.176-1')
    .option('--path <file...>', 'Take only these files; for a patch or a commit also folders')
    .option('--suite <suite>', 'Debian suite of the versions', 'bookworm')
    .option('--patch <file>', 'Unified diff to import')
    .option('--git <directory>', 'Git repository to import from')
    .option('--commit <sha>', 'Commit of that repository')
    .addOption(
      new Option(
        '--companions [how]',
        'Add the files of the same upload that make the fix compile: whole headers (default), or only the needed parts of each',
      ).choices(['whole', 'parts']),
    )
    .option('--no-check', 'Do not compile a fix from Debian versions to find such files')
    .option('--replace', 'Replace a fix of the same id')
    .action(
      action(async (context, options: ImportOptions) => {
        const { id, title, severity, hardware = false, companions, check = true, replace = false } = options;
        const words = { id, title, severity, hardware };
        const how = companions === true ? 'whole' : companions;
        const order = { words, source: sourceOf(options), companions: how, check, replace };
        const { fix, checked, taken } = await usingWorkshop(context, (workshop) =>
          importFix(workshop, order, (text) => context.terminal.note(text)),
        );
        const outcome = { ...summary(fix), ...(checked === undefined ? {} : { compiled: checked }) };
        context.terminal.result(outcome, (data) => describe(data, taken));
      }),
    );
  fix
    .command('list')
    .description('List all fixes.')
    .action(
      action(async (context) => {
        const fixes = (await workshopOf(context).fixes.list()).map(summary);
        context.terminal.result({ fixes }, (data) =>
          data.fixes.length === 0
            ? 'no fixes; kmend fix import --help shows how to add one'
            : table(
                ['ID', 'SEVERITY', 'FILES', 'TITLE'],
                data.fixes.map((entry) => [entry.id, entry.severity, String(entry.files.length), entry.title]),
              ),
        );
      }),
    );
  fix
    .command('show')
    .description('Show one fix with its patch.')
    .argument('<id>')
    .action(
      action(async (context, id: string) => {
        const found = await workshopOf(context).fixes.open(id);
        const data = { ...summary(found), origin: found.origin, ...patchText(found) };
        context.terminal.result(data, () =>
          [
            `id        ${found.id}`,
            `title     ${found.title}`,
            `severity  ${found.severity}`,
            `hardware  ${found.hardware ? 'mitigates a hardware flaw' : 'no'}`,
            `origin    ${JSON.stringify(found.origin)}`,
            `sha256    ${found.sha256}`,
            ...remarks(found),
            '',
            data.patch,
          ].join('\n'),
        );
      }),
    );
};

function withPart(path: string, parts: HeaderParts | undefined): string {
  const names = parts?.[path];
  return names === undefined ? path : `${path} (only ${names.join(', ')})`;
}

function describe(fix: ReturnType<typeof summary> & { readonly compiled?: CheckedFix }, taken: boolean): string {
  const lines = [`${fix.id}: ${fix.title}`, ...fix.files.map((file) => `  ${file}`), ...remarks(fix)];
  const { compiled } = fix;
  if (compiled !== undefined && compiled.leftOut.length > 0)
    lines.push(`${compiled.kernel} is not built from ${compiled.leftOut.join(', ')}: not patched there`);
  if (compiled === undefined || compiled.compiles) return shownLines(lines);
  if (!compiled.complete)
    lines.push(...`does not compile by itself for ${compiled.kernel}: ${compiled.why}`.split('\n'));
  else if (taken)
    lines.push(
      `with ${compiled.companions.map((path) => withPart(path, compiled.parts)).join(', ')} of the same delta it compiles for ${compiled.kernel}`,
    );
  else {
    lines.push(`does not compile by itself for ${compiled.kernel}; these files of the same delta make it compile:`);
    lines.push(
      ...compiled.companions.map((file) => `  ${withPart(file, compiled.parts)}`),
      'import it again with --replace --companions to take them along',
    );
  }
  return shownLines(lines);
}

function sourceOf(options: ImportOptions): FixSource {
  const { from, to, path: paths = [], suite, patch, git, commit } = options;
  const given = [from ?? to, patch, git ?? commit].filter((value) => value !== undefined);
  if (given.length === 1) {
    if (patch !== undefined) return { kind: 'patch', file: patch, paths: options.path };
    if (git !== undefined && commit !== undefined) return { kind: 'git', directory: git, commit, paths: options.path };
    if (from !== undefined && to !== undefined && paths.length > 0) return { kind: 'debian', suite, from, to, paths };
  }
  throw new CliError('usage', 'say where the fix comes from, in one way', {
    hint: 'either --from VERSION --to VERSION --path FILE..., or --patch FILE, or --git DIR --commit SHA',
  });
}

function summary(fix: Fix) {
  const { id, title, severity, hardware, sha256, files, leftOut, notes } = fix;
  return { id, title, severity, hardware, sha256, files, leftOut, notes };
}

/** What of its origin a fix has not, and what was done to read it. */
export function remarks({ leftOut, notes }: Pick<Fix, 'leftOut' | 'notes'>): string[] {
  return [...leftOut.map(({ path, why }) => `left out: ${path} (${why})`), ...notes.map((note) => `note: ${note}`)];
}

/** The patch to show: as UTF-8 if it is valid, else a character for each byte. */
function patchText({ patch }: Fix): { readonly patch: string; readonly patchEncoding: 'utf-8' | 'latin1' } {
  const bytes = Buffer.from(patch, 'latin1');
  return isUtf8(bytes) ? { patch: bytes.toString('utf8'), patchEncoding: 'utf-8' } : { patch, patchEncoding: 'latin1' };
}
