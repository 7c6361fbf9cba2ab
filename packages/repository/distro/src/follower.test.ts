import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { followersOf } from './follower.ts';
import { flavourOf, metapackageName } from './names.ts';
import { aptSetup, dnfSetup } from './setup.ts';
import { AptHost, planOf } from './testing/apt-host.ts';
import { DnfHost } from './testing/dnf-host.ts';
import { type Publisher, publisher } from './testing/publishing.ts';

const FOLLOWER = 'livepatch-amd64';

/** One fix for each of these kernels. */
async function takeAll({ take }: Publisher, releases: readonly string[], fix = 'CVE-2026-1001'): Promise<void> {
  for (const release of releases) {
    const kernel = { release, buildId: buildIdOf(release) };
    await take({ fixes: [fix], functions: [`f_${fix}`], kernel });
  }
}

function buildIdOf(release: string): string {
  return Buffer.from(release).toString('hex').padEnd(40, '0').slice(-40);
}

const debian = (...abis: number[]): string[] => abis.map((abi) => `6.1.0-${abi}-amd64`);

/** A host that follows the repository, with its lists read. */
async function aptHost({ folder, apt, options }: Publisher): Promise<AptHost> {
  const { keyring } = await apt();
  const host = await AptHost.make(join(folder, 'host'));
  await host.place(aptSetup({ url: `file://${options.out}`, keyring }).files);
  await host.get('update');
  return host;
}

async function republish({ apt }: Publisher, host: AptHost): Promise<void> {
  await apt();
  const { exitCode, said } = await host.get('update');
  assert.equal(exitCode, 0, said);
}

test('reads the flavour of a release', () => {
  const flavours = {
    '6.1.0-47-amd64': 'amd64',
    '6.1.0-47-cloud-amd64': 'cloud-amd64',
    '6.1.0-47-rt-amd64': 'rt-amd64',
    '6.12.57+deb13-amd64': 'amd64',
    '6.12.57+deb13-cloud-amd64': 'cloud-amd64',
    '6.1.0-0.deb11.21-amd64': 'amd64',
    '6.12-rc6-amd64': 'amd64',
    '6.8.0-45-generic': 'generic',
    '5.14.0-427.13.1.el9_4.x86_64': 'x86_64',
    '5.14.0-427.13.1.el9_4.x86_64+rt': 'x86_64+rt',
    '6.18.44': undefined,
  };
  for (const [release, flavour] of Object.entries(flavours)) assert.equal(flavourOf(release), flavour, release);
  const all = followersOf([...debian(9, 47, 100), '6.1.0-47-rt-amd64', '6.12.5+deb13-amd64', '6.18.44']);
  assert.deepEqual(
    all.map(({ name, releases }) => [name, ...releases]),
    [
      ['livepatch-amd64', '6.12.5+deb13-amd64', '6.1.0-100-amd64', '6.1.0-47-amd64', '6.1.0-9-amd64'],
      ['livepatch-rt-amd64', '6.1.0-47-rt-amd64'],
    ],
  );
});

test('apt installs the livepatches of each new kernel with the package of a flavour, and keeps those of the running one', async (t) => {
  const publishing = await publisher(t);
  const { clock, depot } = publishing;
  clock.set(new Date());
  await takeAll(publishing, [...debian(40, 41), '6.1.0-41-cloud-amd64']);
  const host = await aptHost(publishing);
  const metas = (plan: readonly string[]): string[] => plan.filter((it) => /-amd64$/.test(it)).sort();
  assert.deepEqual(metas(planOf(await host.get('--simulate', 'install', FOLLOWER))), [
    ...debian(40, 41).map((release) => `Inst ${metapackageName(release)}`),
    `Inst ${FOLLOWER}`,
  ]);
  const deb = (file: string): string => join(depot.packages, 'deb', file);
  const [auto, files] = [
    debian(40, 41).flatMap((release) => [`livepatch-${release}`, `livepatch-${release}-cve-2026-1001`]),
    debian(40, 41).flatMap((release) => [`livepatch-${release}_1`, `livepatch-${release}-cve-2026-1001_1.1`]),
  ];
  await host.installed(
    [
      ...files.map((it) => deb(`${it}_amd64.deb`)),
      deb('kmend-livepatch_0.1.0-1_all.deb'),
      deb(`${FOLLOWER}_1_amd64.deb`),
    ],
    [...auto, 'kmend-livepatch'],
  );
  // Another kernel: without a command that names it, whether it was booted or not.
  await takeAll(publishing, debian(42));
  await republish(publishing, host);
  const upgrade = ['--simulate', '--with-new-pkgs', 'upgrade'];
  assert.deepEqual(metas(planOf(await host.get(...upgrade))), [`Inst livepatch-6.1.0-42-amd64`, `Inst ${FOLLOWER}`]);
  // And a later fix of each: no command named that kernel's package.
  await takeAll(publishing, debian(40), 'CVE-2026-1002');
  await republish(publishing, host);
  assert.ok(planOf(await host.get(...upgrade)).includes('Inst livepatch-6.1.0-40-amd64-cve-2026-1002'));
});

test('apt keeps livepatches of a kept kernel when the flavour moves on', async (t) => {
  const publishing = await publisher(t);
  const { clock, depot, folder } = publishing;
  clock.set(new Date());
  const running = (await runOk(run, 'uname', ['-r'])).toString().trim();
  await takeAll(publishing, [running, ...debian(40)]);
  await publishing.apt();
  const deb = (file: string): string => join(depot.packages, 'deb', file);
  const host = await AptHost.make(join(folder, 'host'));
  const loader = deb('kmend-livepatch_0.1.0-1_all.deb');
  const names = [running, ...debian(40)].flatMap((it) => [metapackageName(it), `${metapackageName(it)}-cve-2026-1001`]);
  const files = names.map((name) => deb(`${name}_${name.endsWith('1001') ? '1.1' : '1'}_amd64.deb`));
  await host.installed([...files, loader], names);
  // Of the distribution's kernels apt keeps the one that runs, and the two newest.
  for (const [index, release] of [running, ...debian(40, 41, 42, 43)].entries())
    await host.kernel(release, `6.${index}`);
  const unused = async (): Promise<string[]> => planOf(await host.get('--simulate', 'autoremove')).sort();
  assert.deepEqual(await unused(), names.map((name) => `Remv ${name}`).sort());
  await runOk(run, 'dpkg-deb', ['--extract', loader, join(folder, 'loader-files')]);
  const settings = 'etc/apt/apt.conf.d/01kmend-livepatch';
  await writeFile(join(host.root, settings), await readFile(join(folder, 'loader-files', settings)));
  assert.match(
    (await runOk(run, 'dpkg-deb', ['--info', loader, 'conffiles'])).toString(),
    new RegExp(`^/${settings}$`, 'm'),
  );
  assert.deepEqual(
    await unused(),
    debian(40).flatMap((it) => [`Remv ${metapackageName(it)}`, `Remv ${metapackageName(it)}-cve-2026-1001`]),
    'the kernel that runs keeps its own',
  );
});

test('apt installs the livepatches of a few kernels of a series, and each suite follows its own', async (t) => {
  const publishing = await publisher(t);
  const { clock, depot } = publishing;
  clock.set(new Date());
  await takeAll(publishing, [...debian(38, 39, 40, 41, 42, 43, 44), '6.12.1+deb13-amd64']);
  const host = await aptHost(publishing);
  const depends = async (): Promise<string> => (await host.cache('depends', FOLLOWER)).said;
  assert.doesNotMatch(await depends(), /6\.1\.0-38-amd64/);
  for (const release of [...debian(39, 44), '6.12.1+deb13-amd64']) {
    assert.ok((await depends()).includes(`Depends: ${metapackageName(release)}`), await depends());
  }
  // What is for early hosts alone is not asked for by the others, who could not have it.
  await takeAll(publishing, debian(45));
  await depot.phase('6.1.0-45-amd64', 0);
  await republish(publishing, host);
  assert.doesNotMatch(await depends(), /6\.1\.0-45-amd64/);
  // With a share, the flavour's package has that share: a package that is new to a host knows of none.
  await depot.phase('6.1.0-45-amd64', 10);
  await republish(publishing, host);
  assert.match(await depends(), /6\.1\.0-45-amd64/);
  assert.match((await host.cache('show', FOLLOWER)).said, /^Phased-Update-Percentage: 10$/m);
  await depot.phase('6.1.0-45-amd64', 100);
  await republish(publishing, host);
  assert.doesNotMatch((await host.cache('show', FOLLOWER)).said, /^Phased/m);
});

test('apt installs a signed package for a fresh kernel that needs none, until its first livepatch', async (t) => {
  const publishing = await publisher(t);
  const { clock, depot, folder } = publishing;
  clock.set(new Date());
  await takeAll(publishing, debian(40));
  const release = '6.1.0-41-amd64';
  await depot.needsNone({ release, buildId: buildIdOf(release), version: '6.1.171-1' });
  const host = await aptHost(publishing);
  const meta = metapackageName(release);
  assert.ok(planOf(await host.get('--simulate', 'install', FOLLOWER)).includes(`Inst ${meta}`));
  assert.match((await host.cache('show', meta)).said, /needs none yet/);
  assert.match((await host.get('changelog', meta)).said, /\* This kernel needs no livepatch yet/);
  const extract = async (serial: number): Promise<string> => {
    const out = join(folder, `x${serial}`);
    await runOk(run, 'dpkg-deb', ['--extract', join(depot.packages, `deb/${meta}_${serial}_amd64.deb`), out]);
    return join(out, `usr/lib/kmend-livepatch/${release}/${meta}`);
  };
  const of = await extract(1);
  const statement = await readFile(join(of, 'none'), 'utf8');
  assert.ok(statement.endsWith(`release ${release}\nbuild-id ${buildIdOf(release)}\n`), statement);
  const loader = join(folder, 'loader-files');
  await runOk(run, 'dpkg-deb', ['--extract', join(depot.packages, 'deb/kmend-livepatch_0.1.0-1_all.deb'), loader]);
  const keyring = join(loader, 'usr/share/kmend-livepatch/packages.gpg');
  await runOk(run, 'gpgv', ['--keyring', keyring, join(of, 'none.sig'), join(of, 'none')]);
  await takeAll(publishing, [release]);
  await republish(publishing, host);
  await assert.rejects(readFile(join(await extract(2), 'none')));
});

test('dnf requires the livepatches of a kernel only beside that kernel', async (t) => {
  const publishing = await publisher(t, 'rsa4096');
  const { folder, dnf, web, depot } = publishing;
  const kernels = [1, 2, 3, 4, 5, 6, 7, 8].map((it) => `5.14.0-${it}.el9.x86_64`);
  await takeAll(publishing, kernels);
  const { keyring } = await dnf();
  const host = await DnfHost.make(join(folder, 'host'));
  await host.place(dnfSetup({ url: `${web.url}/dnf`, keyring }).files);
  const rpm = (file: string): string => join(depot.packages, 'rpm', `${file}.rpm`);
  await host.installed(await kernelPackage(folder, kernels[2] ?? ''));
  const plan = async (...words: string[]): Promise<string[]> => {
    const { said } = await host.dnf('--assumeno', ...words);
    return [...said.matchAll(/^ +(livepatch-\S+) +x86_64 /gm)].map(([, name = '']) => name).sort();
  };
  // The loader's own needs (kmod, gpgv) are not in this host's one repository.
  await host.installed(rpm('kmend-livepatch-0.1.0-1.noarch'));
  const own = (kernel: string): string[] => [metapackageName(kernel), `${metapackageName(kernel)}-cve-2026-1001`];
  assert.deepEqual(await plan('install', 'livepatch-x86-64'), [...own(kernels[2] ?? ''), 'livepatch-x86-64']);
  await host.installed(rpm('livepatch-x86-64-1-1.x86_64'));
  // A kernel that is installed later brings its livepatches in the same run.
  const next = await kernelPackage(folder, kernels[0] ?? '');
  assert.ok((await plan('install', next)).includes(own(kernels[0] ?? '')[1] ?? '-'));
  await takeAll(publishing, ['5.14.0-9.el9.x86_64']);
  await dnf();
  await host.installed(await kernelPackage(folder, '5.14.0-9.el9.x86_64'));
  assert.ok((await plan('upgrade')).includes('livepatch-5.14.0-9.el9.x86-64-cve-2026-1001'));
});

/** What kernels of RPM distributions provide, as a package. */
async function kernelPackage(folder: string, release: string): Promise<string> {
  const work = join(folder, `kernel-${release}`);
  const spec = `Name: kernel-core
Version: ${release.split('-')[0]}
Release: ${release.split('-')[1]?.replace('.x86_64', '')}
Summary: x
License: x
Provides: kernel-uname-r = ${release}
%description
x
%files
`;
  await writeFile(`${work}.spec`, spec);
  const defines = ['--define', `_topdir ${work}`, '--define', '_build_id_links none'];
  await runOk(run, 'rpmbuild', ['-bb', '--quiet', '--target', 'x86_64', ...defines, `${work}.spec`]);
  return join(work, 'RPMS/x86_64', `kernel-core-${release}.rpm`);
}
