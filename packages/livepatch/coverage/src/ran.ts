/** Which replaced functions ran, as the coverage report tells it. */
import { type RanFunction, ranShare, whyNotRun } from '@kmend/protocol';

/** Share of the replaced functions that is wanted to run, in percent. */
export const WANTED_RAN = 60;

/** One line of the table: functions whose source lies in a folder. */
export interface FolderRan {
  readonly folder: string;
  readonly ran: number;
  readonly of: number;
}

/** By the first two folders of the source's path (`fs/btrfs`, `net/ipv4`), those with most functions first. */
export function ranByFolder(ran: readonly RanFunction[]): FolderRan[] {
  const groups = Map.groupBy(ran, ({ source }) => source.split('/').slice(0, -1).slice(0, 2).join('/'));
  const rows = [...groups].map(([folder, some]) => ({ folder, ...(ranShare({ ran: some }) ?? { ran: 0, of: 0 }) }));
  return rows
    .map(({ folder, ran: count, of }) => ({ folder, ran: count, of }))
    .sort((one, other) => other.of - one.of || one.folder.localeCompare(other.folder));
}

/** Markdown: the share, a table by folder, and the names of those that did not run. */
export function ranText(ran: readonly RanFunction[]): string {
  const share = ranShare({ ran: [...ran] });
  if (share === undefined) return '';
  const here = ran.filter(({ inMemory }) => inMemory);
  const some = here.filter((entry) => whyNotRun(entry) === undefined);
  return [
    `**Ran ${share.ran} of ${share.of} replaced functions (${share.percent} %)** while the livepatch was in force; of the ${here.length} in objects that were in memory, ${some.length}.`,
    '',
    '| folder | ran | of |',
    '|---|---|---|',
    ...ranByFolder(ran).map((row) => `| ${row.folder} | ${row.ran} | ${row.of} |`),
    '',
    'Did not run:',
    ...ran.flatMap((entry) => {
      const why = whyNotRun(entry);
      return why === undefined ? [] : [`- ${entry.source}: ${entry.name} (${entry.object}): ${why}`];
    }),
  ].join('\n');
}
