import {
  ATTRIBUTIONS,
  type CveState,
  type FixState,
  type PlannedRevert,
  type ReportedCve,
  type ReportedFix,
  type UpdatePlan,
} from '@kmend/update';
import type { PlannedUpdate } from './plan.ts';

/** What became of an update for one kernel. */
export interface UpdateReport {
  readonly schema: 'kmend.update-report/1';
  readonly kernel: { readonly release: string; readonly buildId: string };
  readonly suite: string;
  readonly from: string;
  readonly to: string;
  readonly uploads: UpdatePlan['uploads'];
  /** `tried`: files that were built. */
  readonly files: UpdatePlan['files'] & { readonly tried: number };
  /** `null` if nothing can be patched. `size`: bytes. */
  readonly livepatch: {
    readonly id: string;
    readonly module: string;
    readonly objects: number;
    readonly functions: number;
    readonly size: number;
  } | null;
  readonly fixes: readonly ReportedFix[];
  readonly cves: readonly ReportedCve[];
  readonly reverts: readonly PlannedRevert[];
  readonly records: PlannedUpdate['records'];
}

const FIXES: Readonly<Record<FixState, string>> = {
  livepatched: 'in the livepatch',
  waiting: 'a person must review them: `kmend review list`',
  rejected: 'a person has rejected them',
  refused: 'cannot be built, or not with the others',
  'set-aside': 'with them, a livepatch failed its proof',
  'nothing-to-patch': 'change no code that a running kernel still runs',
  'not-built': 'this kernel is not built from them',
};

/** Of those whose fix is not known. */
const { files: _, ...OTHERS } = ATTRIBUTIONS;

const CVES: Readonly<Record<CveState, string>> = {
  livepatched: 'all files of their records that this kernel is built from are in the livepatch',
  waiting: 'one of their fixes waits for a review',
  rejected: 'a person has rejected one of their fixes',
  refused: 'one of their fixes cannot be built',
  'set-aside': 'with one of their fixes, a livepatch failed its proof',
  'in-part': 'only a part of one of their headers is in the livepatch',
  'nothing-to-patch': 'their fixes change no code that a running kernel still runs',
  'not-tried': 'not all their files were built: left out by `--path`',
  ...OTHERS,
};

/** Of what is known by its state alone so many are listed. */
const LISTED = 40;
const SHORT = 240;

/** The report as Markdown. */
export function updateReportText(report: UpdateReport): string {
  const { kernel, from, to, files, livepatch, fixes, cves, reverts } = report;
  const made =
    livepatch === null
      ? 'There is no livepatch: none of the fixes can be used, or not without a review.'
      : `The livepatch \`${livepatch.id}\` replaces ${livepatch.functions} functions in ${livepatch.objects} objects (${livepatch.size} bytes).`;
  const earlier = reverts.filter(({ within }) => !within);
  return [
    `# ${kernel.release}: ${from} to ${to}`,
    '',
    made,
    '',
    `${files.sources.built} C files and ${files.headers.built} headers of this kernel change; ${files.tried} files were built.`,
    '',
    '| fixes | state | |',
    '|---|---|---|',
    ...counted(FIXES, fixes),
    '',
    `${cves.length} CVEs are named by the changelog.`,
    '',
    '| CVEs | state | |',
    '|---|---|---|',
    ...counted(CVES, cves),
    ...section('Waiting for a review', fixes.filter(({ state }) => state === 'waiting').map(fixText)),
    ...section('Refused', fixes.filter(({ state }) => state === 'refused').map(fixText)),
    ...section('Set aside', fixes.filter(({ state }) => state === 'set-aside').map(fixText)),
    ...section('Rejected', fixes.filter(({ state }) => state === 'rejected').map(fixText)),
    ...section('CVEs in the livepatch', cves.filter(({ state }) => state === 'livepatched').map(cveText)),
    ...section('CVEs that are not', cves.filter(({ state }) => OPEN.has(state)).map(cveText)),
    ...section(
      'Changes from earlier uploads that are taken back',
      earlier.map(({ version, title }) => `${version}: ${title}`),
    ),
    '',
  ].join('\n');
}

/** States of CVEs that are in this kernel's code, and that its livepatch does not close although it was tried. */
const OPEN: ReadonlySet<CveState> = new Set([
  'waiting',
  'rejected',
  'refused',
  'set-aside',
  'in-part',
  'new-file',
  'unchanged',
]);

function counted<State extends string>(
  meanings: Readonly<Record<State, string>>,
  all: readonly { readonly state: State }[],
): string[] {
  const entries = Object.entries(meanings) as [State, string][];
  return entries.flatMap(([state, meaning]) => {
    const count = all.filter((one) => one.state === state).length;
    return count === 0 ? [] : [`| ${count} | ${state} | ${meaning} |`];
  });
}

function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const more = lines.length > LISTED ? [`- and ${lines.length - LISTED} more: see update.json`] : [];
  return ['', `## ${title}`, '', ...lines.slice(0, LISTED).map((line) => `- ${line}`), ...more];
}

function fixText({ id, paths, reasons, key }: ReportedFix): string {
  const why = reasons.map(({ code, message }) => `[${code}] ${message.replaceAll(/\s*\n\s*/g, ' ')}`).join('; ');
  const more = paths.length > 1 ? ` (${paths.length} files)` : '';
  const asked = key === undefined ? '' : ` \`${key.slice(0, 12)}\``;
  return `${id}${more}${asked}: ${why.length > SHORT ? `${why.slice(0, SHORT)} …` : why}`;
}

function cveText({ id, title, state, fixes }: ReportedCve): string {
  const where = fixes.length === 0 ? '' : ` (${fixes.join(', ')})`;
  return `${id}, ${state}: ${title}${where}`;
}
