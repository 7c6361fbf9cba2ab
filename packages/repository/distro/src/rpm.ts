import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { LIVEPATCH_FOLDER } from './names.ts';
import type { Need, PackageMaker, PackageSpec, PackageVersion } from './package.ts';
import { epochSeconds, oneLine, rpmDate, shorten } from './text.ts';
import { layOut, normalize } from './tree.ts';

const ARCHITECTURES = { all: 'noarch', amd64: 'x86_64' } as const;

export function rpmFileName(spec: PackageSpec): string {
  return `${spec.name}-${rpmVersion(spec)}.${ARCHITECTURES[spec.architecture]}.rpm`;
}

export function rpmArchitecture({ architecture }: PackageSpec): string {
  return ARCHITECTURES[architecture];
}

export function rpmVersion({ version, revision = 1 }: PackageVersion): string {
  return `${version}-${revision}`;
}

/** Builds and signs an .rpm at `path`; the same spec and key give the same bytes. */
export async function buildRpm(run: Run, spec: PackageSpec, maker: PackageMaker, path: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'kmend-rpm-'));
  try {
    const tree = join(work, 'tree');
    await mkdir(tree);
    await layOut(tree, spec, maker.signer);
    await normalize(tree, spec.at);
    await writeFile(join(work, 'package.spec'), specText(spec, maker));
    // HOME: a person's own macros do not count.
    const env = { ...maker.signer.environment, HOME: work, SOURCE_DATE_EPOCH: String(epochSeconds(spec.at)) };
    const target = ARCHITECTURES[spec.architecture];
    await runOk(
      run,
      'rpmbuild',
      [
        '-bb',
        '--quiet',
        '--target',
        target,
        ...defines({ ...BUILD, _topdir: work, kmend_tree: tree }),
        join(work, 'package.spec'),
      ],
      { env },
    );
    const folder = join(work, 'RPMS', target);
    const [built] = await readdir(folder);
    const file = join(folder, built ?? '');
    const { fingerprint } = maker.signer;
    const sign = [
      ...maker.signer.at(spec.at),
      '--batch',
      '--no-armor',
      '--digest-algo',
      'sha256',
      '--local-user',
      fingerprint,
    ];
    // A program by its path, then what it is called: rpm's own macro names one that Debian does not have.
    const command = `/usr/bin/env env gpg ${sign.join(' ')} -sbo %{__signature_filename} %{__plaintext_filename}`;
    await runOk(run, 'rpmsign', ['--addsign', ...defines({ _gpg_name: fingerprint, __gpg_sign_cmd: command }), file], {
      env,
    });
    await copyFile(file, path);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Nothing is stripped, compressed again or added, and nothing of the machine is kept. */
const BUILD = {
  _buildhost: 'kmend',
  use_source_date_epoch_as_buildtime: '1',
  clamp_mtime_to_source_date_epoch: '1',
  __os_install_post: '%{nil}',
  debug_package: '%{nil}',
  _build_id_links: 'none',
  // gzip and SHA-256: every rpm since 4.6 reads them.
  _binary_payload: 'w9.gzdio',
  _binary_filedigest_algorithm: '8',
  _source_filedigest_algorithm: '8',
};

function defines(macros: Readonly<Record<string, string>>): string[] {
  return Object.entries(macros).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
}

function specText(spec: PackageSpec, { maintainer }: PackageMaker): string {
  const { name, version, revision = 1, architecture, needs, replaces, files, scripts, changes } = spec;
  const folders = ownFolders(spec);
  const sections = Object.entries(scripts).map(([section, text]) => `%${section}\n${plain(text)}`);
  const lines = [
    `Name: ${name}`,
    `Version: ${version}`,
    `Release: ${revision}`,
    `Summary: ${plain(shorten(oneLine(spec.summary), 100))}`,
    `License: ${spec.licence}`,
    `Packager: ${plain(maintainer)}`,
    ...(architecture === 'all' ? ['BuildArch: noarch'] : []),
    // What a module exports is not for other packages.
    'AutoReqProv: no',
    ...needs.map((need) => `Requires: ${relation(need, '=')}`),
    ...replaces.map((need) => `Obsoletes: ${relation(need, '<=')}`),
    '',
    '%description',
    ...spec.description.map((line) => plain(oneLine(line))),
    '',
    '%install',
    'mkdir -p %{buildroot}',
    'cp -a %{kmend_tree}/. %{buildroot}/',
    '',
    ...sections,
    '%files',
    ...folders.map((folder) => `%dir %attr(0755,root,root) "/${folder}"`),
    ...files.map(({ path, mode }) => `%attr(${mode.toString(8).padStart(4, '0')},root,root) "/${path}"`),
    '',
    '%changelog',
    ...changes.flatMap((change) => [
      `* ${rpmDate(change.at)} ${plain(maintainer)} - ${rpmVersion(change)}`,
      ...change.lines.map((line) => `- ${plain(oneLine(line))}`),
      '',
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

/** A percent sign begins a macro anywhere in a spec, and a macro may run programs. */
function plain(text: string): string {
  return text.replaceAll('%', '%%');
}

/** What kernels of RPM distributions provide is a version, which has one dash at most. */
export function canBeConditional(release: string): boolean {
  return release.split('-').length <= 2;
}

function relation({ name, exactly, beside }: Need, operator: '=' | '<='): string {
  if (beside !== undefined) return `(${name} if kernel-uname-r = ${beside})`;
  return exactly === undefined ? name : `${name} ${operator} ${rpmVersion(exactly)}`;
}

/** Folders that go with the package: those of livepatches, and what carries the package's own name. */
function ownFolders({ name, files }: PackageSpec): string[] {
  const all = new Set<string>();
  for (const { path } of files) {
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
      if (
        folder.startsWith(LIVEPATCH_FOLDER) ||
        folder === `usr/share/doc/${name}` ||
        folder.startsWith('usr/share/kmend-')
      ) {
        all.add(folder);
      }
    }
  }
  return [...all].sort();
}
