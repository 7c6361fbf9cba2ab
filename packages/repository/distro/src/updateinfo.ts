import type { FixSummary, Severity } from '@kmend/protocol';
import { entryOf, fixLines, stateLines } from './livepatch-package.ts';
import { metapackageName } from './names.ts';
import type { PackageSpec } from './package.ts';
import { rpmArchitecture, rpmFileName } from './rpm.ts';
import { isCve, type Offer } from './suites.ts';
import { oneLine } from './text.ts';

const SEVERITIES: Readonly<Record<Severity, string>> = {
  critical: 'Critical',
  high: 'Important',
  medium: 'Moderate',
  low: 'Low',
  unknown: 'None',
};
const WORST_FIRST: readonly Severity[] = ['critical', 'high', 'medium', 'low'];

/**
 * `updateinfo.xml`: one advisory a state, so that `dnf updateinfo` and `dnf upgrade --security` know what a package
 * fixes.
 */
export function updateinfo(offers: readonly Offer[], specs: readonly PackageSpec[], from: string): string {
  const updates = offers.flatMap((offer) => offer.states.map((state) => advisory(offer, state, specs, from)));
  return `<?xml version="1.0" encoding="UTF-8"?>\n<updates>\n${updates.join('')}</updates>\n`;
}

function advisory(
  { kernel }: Offer,
  state: Offer['states'][number],
  specs: readonly PackageSpec[],
  from: string,
): string {
  const fixes = entryOf(kernel, state.head)?.fixes ?? [];
  const name = metapackageName(kernel.release);
  const packages = specs.filter(
    (spec) =>
      (spec.name === name && spec.version === String(state.serial)) ||
      (spec.name === state.head?.package && spec.version === state.head.version),
  );
  const cves = fixes.filter(({ id }) => isCve(id));
  const date = new Date(state.at).toISOString().slice(0, 19).replace('T', ' ');
  const [first = ''] = fixes.length === 1 ? fixLines({ fixes }) : stateLines(kernel, state);
  return ` <update from="${xml(from)}" status="final" type="${cves.length > 0 ? 'security' : 'bugfix'}" version="1">
  <id>KMEND-${xml(kernel.release)}-${state.serial}</id>
  <title>${xml(`livepatch for Linux ${kernel.release}: ${first}`)}</title>
  <severity>${worst(fixes)}</severity>
  <release>${xml(name)}</release>
  <issued date="${date}"/>
  <updated date="${date}"/>
  <references>
${cves.map(({ id, title }) => reference(id.toUpperCase(), title)).join('')}  </references>
  <description>${stateLines(kernel, state).map(xml).join('\n')}</description>
  <pkglist>
   <collection short="kmend">
    <name>${xml(name)}</name>
${packages.map(packageElement).join('')}   </collection>
  </pkglist>
 </update>
`;
}

function reference(id: string, title: string): string {
  return `   <reference href="https://www.cve.org/CVERecord?id=${xml(id)}" id="${xml(id)}" type="cve" title="${xml(title)}"/>\n`;
}

function packageElement(spec: PackageSpec): string {
  const { name, version, revision = 1 } = spec;
  return `    <package name="${xml(name)}" version="${version}" release="${revision}" epoch="0" arch="${rpmArchitecture(spec)}" src="">
     <filename>${xml(rpmFileName(spec))}</filename>
    </package>
`;
}

function worst(fixes: readonly FixSummary[]): string {
  return SEVERITIES[WORST_FIRST.find((severity) => fixes.some((fix) => fix.severity === severity)) ?? 'unknown'];
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function xml(text: string): string {
  // The two non-characters are the last of what XML 1.0 has no place for.
  return oneLine(text)
    .replace(/[\uFFFE\uFFFF]/g, ' ')
    .replace(/[&<>"]/g, (character) => ENTITIES[character] ?? '');
}
