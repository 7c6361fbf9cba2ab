import { ATTRIBUTIONS, type PlannedUpdate, type UpdateReport } from '@kmend/pipeline';
import type { AutopilotState } from '@kmend/pipeline/autopilot';
import { table } from './terminal.ts';

/** Of CVEs that need a person so many are listed; `--json` has all. */
const LISTED = 20;

/** A plan for people. */
export function updateText(plan: PlannedUpdate): string {
  const { kernel, from, to, uploads, files, cves, reverts } = plan;
  if (uploads.length === 0) return `${kernel}: ${from} is the newest version of ${plan.suite}`;
  const items = uploads.reduce((sum, upload) => sum + upload.items, 0);
  const { sources, headers, added } = files;
  const lines = [
    `${kernel}: ${from} to ${to}, ${uploads.length} ${uploads.length === 1 ? 'upload' : 'uploads'}, ${items} changes`,
    '',
    table(
      ['UPLOAD', 'SUITE', 'CHANGES', 'CVES'],
      uploads.map((upload) => [upload.version, upload.suite, `${upload.items}`, `${upload.cves}`]),
    ),
    '',
    `${sources.changed} C files change, ${sources.built} of them in this kernel; ${headers.changed} headers, ${headers.built} of them in this kernel; ${added} files are new`,
    '',
    `${cves.length} CVEs are named:`,
    ...Object.entries(ATTRIBUTIONS).map(
      ([attribution, meaning]) =>
        `  ${`${cves.filter((cve) => cve.attribution === attribution).length}`.padStart(5)}  ${attribution.padEnd(10)} ${meaning}`,
    ),
  ];
  const open = cves.filter(({ attribution }) => attribution === 'unchanged' || attribution === 'new-file');
  for (const { id, title, unchanged } of open.slice(0, LISTED))
    lines.push(`  ${id}  ${title}${unchanged.length === 0 ? '' : ` (not changed: ${unchanged.join(', ')})`}`);
  if (open.length > LISTED) lines.push(`  and ${open.length - LISTED} more: see --json`);
  const earlier = reverts.filter(({ within }) => !within);
  if (reverts.length > 0) {
    lines.push('', `${reverts.length} changes are reverted, ${earlier.length} of them from an earlier upload:`);
    for (const { title, version } of earlier) lines.push(`  ${version}  ${title}`);
  }
  const { used, ...unused } = plan.records;
  const skipped = Object.entries(unused).map(([why, count]) => `${count} ${why}`);
  if (skipped.length > 0) lines.push('', `${used} records used; not used: ${skipped.join(', ')}`);
  return lines.join('\n');
}

/** What a build of an update made, for people. The report has the rest. */
export function updateBuildText(report: UpdateReport, out: string): string {
  const { kernel, from, to, livepatch, fixes, cves } = report;
  const counts = (all: readonly { readonly state: string }[]): string =>
    [...Map.groupBy(all, ({ state }) => state)].map(([state, some]) => `${some.length} ${state}`).join(', ') || 'none';
  return [
    `${kernel.release}: ${from} to ${to}`,
    `  fixes: ${counts(fixes)}`,
    `  CVEs: ${counts(cves)}`,
    ...(livepatch === null
      ? ['  no livepatch was written']
      : [
          `  ${out}/livepatch: ${livepatch.id}, ${livepatch.functions} functions in ${livepatch.objects} objects, ${livepatch.size} bytes`,
        ]),
    ...(fixes.some(({ state }) => state === 'waiting') ? ['  kmend review list shows what waits for you'] : []),
    `  report: ${out}/update.md`,
  ].join('\n');
}

/** What the autopilot is doing, or has done, for people. */
export function autopilotText({ kernels }: { readonly kernels: readonly AutopilotState[] }): string {
  if (kernels.length === 0) return 'no autopilot has run here: kmend autopilot run begins';
  const rows = kernels.map(({ kernel, to, step, livepatch, serial, at }) => {
    return [kernel, to, step, livepatch ?? '', serial === undefined ? '' : `${serial}`, at];
  });
  return [
    table(['KERNEL', 'UPDATE', 'STATE', 'LIVEPATCH', 'SERIAL', 'SINCE'], rows),
    ...kernels.flatMap(({ kernel, problem }) =>
      problem === undefined ? [] : [`${kernel}: ${problem.message} [${problem.code}]`],
    ),
    ...kernels.flatMap(({ kernel, step, out }) =>
      out === undefined || step !== 'proven' ? [] : [`${kernel}: publish it with kmend publish ${out}/livepatch`],
    ),
    ...kernels.flatMap(({ out }) => (out === undefined ? [] : [`report: ${out}/update.md`])),
  ].join('\n');
}
