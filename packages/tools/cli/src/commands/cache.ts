import { pruneCache, type Removal } from '@kmend/pipeline';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { megabytes, table } from '../terminal.ts';
import { workshopOf } from '../workshop.ts';

export const cacheCommands: Register = ({ program, action }) => {
  const cache = program.command('cache').description('Manage what this machine keeps to build with.');
  cache
    .command('prune')
    .description('Remove what no kernel of the store needs, what is left over, and what was not used for a time.')
    .option('--dry-run', 'Show what would be removed, and remove nothing')
    .option('--unused-for <days>', 'Age at which unused objects, packages and lab files go', '30')
    .action(
      action(async (context, options: { readonly dryRun?: boolean; readonly unusedFor: string }) => {
        const { dryRun = false, unusedFor } = options;
        if (!/^\d{1,4}$/.test(unusedFor))
          throw new CliError('usage', '--unused-for takes a number of days', { hint: 'e.g. --unused-for 30' });
        const removals = await pruneCache(workshopOf(context), { dryRun, unusedDays: Number(unusedFor) });
        const bytes = removals.reduce((sum, removal) => sum + removal.bytes, 0);
        const shown = removals.map(({ what, why, paths, bytes: size }) => ({
          what,
          why,
          entries: paths.length,
          bytes: size,
        }));
        context.terminal.result({ dryRun, bytes, removals: shown }, () => pruneText(removals, dryRun));
      }),
    );
};

/** For people. */
export function pruneText(removals: readonly Removal[], dryRun: boolean): string {
  if (removals.length === 0) return 'nothing to remove: all that is there is in use';
  const total = removals.reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = removals.map(({ what, bytes, why, paths }) => [what, megabytes(bytes), `${paths.length}`, why]);
  return [
    table(['WHAT', 'SIZE', 'ENTRIES', 'WHY'], rows),
    '',
    dryRun ? `would free ${megabytes(total)}; nothing was removed` : `freed ${megabytes(total)}`,
  ].join('\n');
}
