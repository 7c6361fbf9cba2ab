import type { Harm } from './judge.ts';
import type { RoundResult } from './round.ts';

export interface Row {
  readonly group: string;
  readonly results: readonly RoundResult[];
}

const HEAD = [
  'group',
  'faults',
  'host up',
  'unverified',
  'false protected',
  'journals lost',
  'right by itself',
  'person (said)',
  'failed',
  'seconds',
];

/** One line a group, and all together. */
export function table(rows: readonly Row[]): string {
  const all = { group: 'all', results: rows.flatMap((row) => row.results) };
  const cells = [HEAD, ...[...rows, all].map(cellsOf)];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const line = (words: readonly string[]): string =>
    words
      .map((word, column) => (column === 0 ? word.padEnd(widths[0] ?? 0) : word.padStart(widths[column] ?? 0)))
      .join('  ');
  return cells.map(line).join('\n');
}

function cellsOf({ group, results }: Row): string[] {
  const struck = results.filter((it) => it.struck);
  const harmed = (harm: Harm): number =>
    results.filter((it) => it.findings.some((found) => found.harm === harm)).length;
  return [
    group,
    String(struck.length),
    String(struck.length - harmed('down')),
    String(harmed('unverified')),
    String(harmed('false-protected')),
    String(harmed('journal-lost')),
    String(struck.filter((it) => it.standing.kind === 'right').length),
    String(struck.filter((it) => it.standing.kind === 'person').length),
    String(results.filter((it) => it.findings.length > 0).length),
    results.reduce((sum, it) => sum + it.seconds, 0).toFixed(0),
  ];
}

/** Failures, and faults that were never reached: both are for a person to look at. */
export function remarks(rows: readonly Row[]): string[] {
  return rows.flatMap(({ group, results }) =>
    results.flatMap((it) => [
      ...it.findings.map(({ harm, text }) => `FAILED ${group} ${it.id}: ${harm}: ${text} [${it.what}]`),
      ...(it.struck ? [] : [`not reached: ${group} ${it.id} (${it.what})`]),
    ]),
  );
}
