import type { DepotKernel, Entry, State } from './depot/schema.ts';
import { manifestText, statementText } from './manifest.ts';
import { LIVEPATCH_FOLDER, LOADER_PACKAGE, metapackageName } from './names.ts';
import type { Change, PackageSpec } from './package.ts';

/** Largest number of fixes that a description lists with their titles. */
const TOLD_FIXES = 50;

/** Functions that a description names at most. */
const NAMED_FUNCTIONS = 20;

const COPYRIGHT = `livepatch.ko is made from the source of the Linux kernel and of the fixes named in the
package's description, and is licensed under the GNU General Public License, version 2
(/usr/share/common-licenses/GPL-2 on Debian). The source of the fixes is with the party that
published this package.
`;

/** The package of one livepatch: data alone, the loader does the rest. */
export function livepatchPackage(kernel: DepotKernel, entry: Entry, modulePath: string): PackageSpec {
  const { package: name, version, kind, below, fixes, sha256 } = entry;
  const manifest = manifestText(kernel, entry);
  const folder = `${LIVEPATCH_FOLDER}/${kernel.release}/${name}`;
  const what = kind === 'stacked' ? fixes.map(({ id }) => id).join(', ') : `all ${fixes.length} published fixes`;
  return {
    name,
    version,
    architecture: 'amd64',
    licence: 'GPL-2.0-only',
    summary: `livepatch of ${what} for Linux ${kernel.release}`,
    description: [
      kind === 'stacked'
        ? 'Mends the running kernel without a reboot, on top of the livepatches before it. It holds:'
        : 'Mends the running kernel without a reboot, in place of all livepatches before it. It holds:',
      ...toldFixes(entry),
      '',
      `For the kernel with the build id ${kernel.buildId} alone; on another one it does nothing.`,
      functionsLine(entry),
      ...(entry.effectiveVersion === undefined ? [] : [`Effective version: ${entry.effectiveVersion}`]),
    ],
    needs: [
      { name: LOADER_PACKAGE },
      ...(below === undefined ? [] : [{ name: below.package, exactly: { version: below.version } }]),
    ],
    replaces: entry.replaces.map((one) => ({ name: one.package, exactly: { version: one.version } })),
    takesOut: entry.takesOut,
    files: [
      { path: `${folder}/livepatch.ko`, mode: 0o644, content: { file: modulePath, sha256 } },
      { path: `${folder}/manifest`, mode: 0o644, content: { text: manifest } },
      { path: `${folder}/manifest.sig`, mode: 0o644, content: { signatureOf: manifest } },
      { path: `usr/share/doc/${name}/copyright`, mode: 0o644, content: { text: COPYRIGHT } },
    ],
    scripts: {},
    changes: changesOf(kernel, entry),
    at: new Date(entry.at),
  };
}

/** The metapackage at one state: it follows the newest livepatch of its kernel, and is what a person installs. */
export function metapackage(kernel: DepotKernel, state: State): PackageSpec {
  const { head, serial, at } = state;
  const name = metapackageName(kernel.release);
  const entry = entryOf(kernel, head);
  return {
    name,
    version: String(serial),
    architecture: 'amd64',
    licence: 'GPL-2.0-only',
    summary: `newest livepatches for Linux ${kernel.release}`,
    description: [
      `Follows the livepatches that are published for Linux ${kernel.release}, build id ${kernel.buildId}.`,
      ...(entry === undefined ? noneLines(state) : ['This version came with:', ...toldFixes(entry)]),
    ],
    needs: [
      { name: LOADER_PACKAGE },
      ...(head === undefined ? [] : [{ name: head.package, exactly: { version: head.version } }]),
    ],
    replaces: [],
    takesOut: false,
    files: [
      ...(state.notNeeded ? statementFiles(kernel, state) : []),
      { path: `usr/share/doc/${name}/copyright`, mode: 0o644, content: { text: COPYRIGHT } },
    ],
    scripts: {},
    changes: kernel.states
      .filter((one) => one.serial <= serial)
      .toReversed()
      .map((one) => ({ version: String(one.serial), at: new Date(one.at), lines: stateLines(kernel, one) })),
    at: new Date(at),
  };
}

function noneLines({ notNeeded }: State): string[] {
  return notNeeded
    ? [
        'It needs none yet: it has every fix that is published. One that it needs comes as a newer version of this package.',
      ]
    : ['There is none at the moment.'];
}

/** What hosts may believe of a kernel without livepatches, signed as manifests are. */
function statementFiles(kernel: DepotKernel, { serial }: State): PackageSpec['files'] {
  const name = metapackageName(kernel.release);
  const folder = `${LIVEPATCH_FOLDER}/${kernel.release}/${name}`;
  const statement = statementText(kernel, { package: name, serial });
  return [
    { path: `${folder}/none`, mode: 0o644, content: { text: statement } },
    { path: `${folder}/none.sig`, mode: 0o644, content: { signatureOf: statement } },
  ];
}

export function entryOf({ entries }: DepotKernel, id: State['head']): Entry | undefined {
  return entries.find((entry) => entry.package === id?.package && entry.version === id.version);
}

/** What a state brought, a line each. */
export function stateLines(kernel: DepotKernel, { head, serial, notNeeded }: State): string[] {
  const before = kernel.states.find((state) => state.serial === serial - 1);
  const entry = entryOf(kernel, head);
  const earlier = entryOf(kernel, before?.head);
  if (notNeeded) return ['This kernel needs no livepatch yet'];
  if (before?.notNeeded && entry === undefined) return ['It is no longer said that this kernel needs no livepatch'];
  if (entry === undefined) return [`All livepatches were withdrawn: ${earlier?.package} ${earlier?.version}`];
  if (earlier !== undefined && kernel.entries.indexOf(earlier) > kernel.entries.indexOf(entry)) {
    return [`${earlier.package} ${earlier.version} was withdrawn; back to ${entry.package} ${entry.version}`];
  }
  if (entry.kind === 'stacked') return fixLines(entry);
  const told = new Set(
    kernel.entries.slice(0, kernel.entries.indexOf(entry)).flatMap(({ fixes }) => fixes.map(({ id }) => id)),
  );
  const fixes = entry.fixes.filter(({ id }) => !told.has(id));
  return [`One cumulative livepatch in place of the stack, with ${entry.fixes.length} fixes`, ...fixLines({ fixes })];
}

function changesOf({ entries }: DepotKernel, entry: Entry): Change[] {
  return entries
    .slice(0, entries.indexOf(entry) + 1)
    .filter((one) => one.package === entry.package)
    .toReversed()
    .map((one) => ({ version: one.version, at: new Date(one.at), lines: fixLines(one) }));
}

export function fixLines({ fixes }: Pick<Entry, 'fixes'>): string[] {
  return fixes.map(({ id, title, severity, hardware }) => {
    const words = [severity === 'unknown' ? '' : severity, hardware ? 'hardware flaw' : ''].filter(
      (word) => word !== '',
    );
    return `${id}: ${title}${words.length === 0 ? '' : ` (${words.join(', ')})`}`;
  });
}

/** Of very many fixes the ids alone, for a description is read by every host at every update of its lists. */
function toldFixes({ fixes }: Entry): string[] {
  if (fixes.length <= TOLD_FIXES) return fixLines({ fixes });
  const ids = fixes.map(({ id }) => id);
  return Array.from({ length: Math.ceil(ids.length / 10) }, (_, n) => ids.slice(n * 10, n * 10 + 10).join(', '));
}

function functionsLine({ functions }: Entry): string {
  const names = [...new Set(functions.map(({ object, name }) => (object === 'vmlinux' ? name : `${object}:${name}`)))];
  const left = names.length - NAMED_FUNCTIONS;
  return `Functions: ${names.slice(0, NAMED_FUNCTIONS).join(', ')}${left > 0 ? ` and ${left} more` : ''}`;
}
