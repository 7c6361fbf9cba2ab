import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, sha256 } from '@kmend/base/node';
import type { Depot } from './depot/depot.ts';
import { DistroError } from './error.ts';
import { KEYRING_PATH, LIVEPATCH_FOLDER, LOADER_PACKAGE } from './names.ts';
import type { Need, PackagedFile, PackageSpec } from './package.ts';
import { LOADER_VERSION } from './version.ts';

export type PackageFormat = 'deb' | 'rpm';

const PACKAGING = fileURLToPath(new URL('../packaging/', import.meta.url));
const LICENCE = fileURLToPath(new URL('../../../../LICENSE', import.meta.url));
/** What the units name as their documentation. */
const HANDBOOK = fileURLToPath(new URL('../../../../docs/packages.md', import.meta.url));

/** The loader's own files, where this repository has them. */
export const LOADER_FOLDER = fileURLToPath(new URL('../loader/', import.meta.url));

const DOCUMENTS = `usr/share/doc/${LOADER_PACKAGE}`;
const UNIT_FOLDERS = { deb: 'lib/systemd/system', rpm: 'usr/lib/systemd/system' } as const;

/** Dependencies: what even a minimal host has is not listed. */
const NEEDS: Readonly<Record<PackageFormat, readonly Need[]>> = {
  deb: [{ name: 'gpgv' }, { name: 'kmod' }],
  // By its path: the distributions with RPM have it in packages of different names.
  rpm: [{ name: '/usr/bin/gpgv' }, { name: 'kmod' }, { name: 'util-linux' }],
};

/**
 * `livepatch-<release>` counts as a part of that kernel: what was installed for one that runs, or that a reboot may
 * bring, is never an unused package, and goes with the kernel (apt.conf(5), APT::VersionedKernelPackages).
 */
const APT_SETTINGS = `// Livepatches of a kernel stay as long as apt keeps the kernel.
APT::VersionedKernelPackages { "livepatch"; };
`;

/** In the order in which a spec has them; `--` names the files that trigger. */
const RPM_SECTIONS = {
  post: 'post',
  preun: 'preun',
  postun: 'postun',
  transfiletriggerin: `transfiletriggerin -- /${LIVEPATCH_FOLDER}`,
  transfiletriggerpostun: `transfiletriggerpostun -- /${LIVEPATCH_FOLDER}`,
} as const;

interface Unit {
  readonly name: string;
  readonly text: string;
}

/** The files of a loader: `bin/kmend-livepatch`, `parts/*.sh`, `units/*`. */
interface LoaderFiles {
  readonly program: string;
  readonly parts: readonly Unit[];
  readonly units: readonly Unit[];
}

/**
 * The loader's package in both formats, with the keyring it verifies manifests against. A change of its files without a
 * new version is a new revision, which the depot remembers. Throws `loader-missing`.
 */
export async function loaderPackages(
  depot: Depot,
  folder: string,
  keyring: Uint8Array,
): Promise<Readonly<Record<PackageFormat, PackageSpec>>> {
  const files = await readLoader(folder);
  const scripts = { deb: await scriptsOf('deb', files.units), rpm: await scriptsOf('rpm', files.units) };
  const handbook = (await exists(HANDBOOK)) ? [text(`${DOCUMENTS}/packages.md`, await readFile(HANDBOOK, 'utf8'))] : [];
  const contents = sha256(JSON.stringify([files, scripts, APT_SETTINGS, sha256(keyring)]));
  const { revision, at } = await depot.loaderRevision(LOADER_VERSION, contents);
  const licence = await readFile(LICENCE);
  const spec = (format: PackageFormat): PackageSpec => ({
    name: LOADER_PACKAGE,
    version: LOADER_VERSION,
    revision,
    architecture: 'all',
    licence: 'Apache-2.0',
    summary: 'loads the livepatches that the package manager installs',
    description: [
      'Verifies installed livepatches of the running kernel and loads them, in order, when they are installed and at boot.',
      'It has no network and no resident service. "kmend-livepatch status" shows what is in force.',
    ],
    needs: NEEDS[format],
    replaces: [],
    takesOut: false,
    files: [
      text('usr/sbin/kmend-livepatch', files.program, 0o755),
      ...files.parts.map((part) => text(`usr/lib/kmend-livepatch-loader/${part.name}`, part.text)),
      ...files.units.map((unit) => text(`${UNIT_FOLDERS[format]}/${unit.name}`, unit.text)),
      ...(format === 'deb' ? [text('etc/apt/apt.conf.d/01kmend-livepatch', APT_SETTINGS)] : []),
      { path: KEYRING_PATH, mode: 0o644, content: { bytes: keyring } },
      ...handbook,
      { path: `${DOCUMENTS}/copyright`, mode: 0o644, content: { bytes: licence } },
    ],
    scripts: scripts[format],
    changes: [{ version: LOADER_VERSION, revision, at: new Date(at), lines: [`kmend ${LOADER_VERSION}`] }],
    at: new Date(at),
  });
  return { deb: spec('deb'), rpm: spec('rpm') };
}

async function readLoader(folder: string): Promise<LoaderFiles> {
  const program = await readFile(join(folder, 'bin/kmend-livepatch'), 'utf8').catch((cause: Error) => {
    throw new DistroError('loader-missing', `there is no loader in ${folder}: ${cause.message}`, { cause });
  });
  return {
    program,
    parts: await readAll(join(folder, 'parts'), '.sh'),
    units: await readAll(join(folder, 'units'), ''),
  };
}

async function readAll(folder: string, ending: string): Promise<Unit[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(ending)).sort();
  const all: Unit[] = [];
  for (const name of names) {
    const path = join(folder, name);
    if ((await stat(path)).isFile()) all.push({ name, text: await readFile(path, 'utf8') });
  }
  return all;
}

/** Units with an [Install] section are enabled and started; those that load at boot are for the next boot. */
async function scriptsOf(format: PackageFormat, units: readonly Unit[]): Promise<Record<string, string>> {
  const installed = units.filter(({ text }) => /^\[Install\]$/m.test(text));
  const started = installed.filter(({ text }) => !loadsAtBoot(text));
  const words = { UNITS: namesOf(installed), START: namesOf(started) };
  const fill = (text: string): string => text.replaceAll('@UNITS@', words.UNITS).replaceAll('@START@', words.START);
  const names: Readonly<Record<string, string>> =
    format === 'deb' ? { postinst: 'postinst', prerm: 'prerm', postrm: 'postrm', triggers: 'triggers' } : RPM_SECTIONS;
  const scripts: Record<string, string> = {};
  for (const [file, name] of Object.entries(names)) {
    scripts[name] = fill(await readFile(join(PACKAGING, format, file), 'utf8'));
  }
  return scripts;
}

/** Early in it, or late, where the early one could not. */
function loadsAtBoot(unit: string): boolean {
  const early = /^WantedBy=sysinit\.target$/m.test(unit) || /^ConditionPathExists=!\S+\/booted$/m.test(unit);
  return early && /^ExecStart=\S+ sync --boot$/m.test(unit);
}

function namesOf(units: readonly Unit[]): string {
  return units.map(({ name }) => name).join(' ');
}

function text(path: string, content: string, mode = 0o644): PackagedFile {
  return { path, mode, content: { text: content } };
}
