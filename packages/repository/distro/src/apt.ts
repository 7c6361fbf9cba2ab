import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { fieldOf, stanzasOf } from '@kmend/base';
import { cleanEnvironment, runOk, sha256 } from '@kmend/base/node';
import { deliver, linkOrCopy } from './build.ts';
import type { Contents, SuiteContents } from './contents.ts';
import { debChangelog } from './deb.ts';
import { metapackageName } from './names.ts';
import { type PackageSpec, versionText } from './package.ts';
import type { Suite } from './suites.ts';
import { mailDate } from './text.ts';

const COMPONENT = 'main';
const DAY_MS = 86_400_000;
/** How long an index that was replaced stays to be had, for hosts in the middle of an update. */
const KEPT_INDEX_MS = 7 * DAY_MS;

/** Writes pool, changelogs and suites into a new folder. Returns until when it is valid. */
export async function writeApt(contents: Contents, folder: string, previous: string | undefined): Promise<Date> {
  const { packages, settings, now } = contents;
  for (const built of packages) {
    const path = poolPath(built.spec, built.fileName);
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await deliver(built, join(folder, path), previous === undefined ? undefined : join(previous, path));
    await writeChangelog(folder, built.spec, settings.maintainer);
  }
  const stanzas = await scan(contents, folder);
  const validUntil = new Date(now.getTime() + settings.validDays * DAY_MS);
  for (const [suite, of] of contents.suites) {
    const index = `dists/${suite}/${COMPONENT}/binary-amd64`;
    await writeIndex(join(folder, index), indexText(stanzas, of, suite));
    await keepOldIndices(join(folder, index), previous === undefined ? undefined : join(previous, index), now);
    await writeRelease(contents, folder, suite, validUntil);
  }
  await writeFile(join(folder, 'key.asc'), contents.signer.keyringText);
  return validUntil;
}

/** Debian's way of laying a pool out; also what APT makes of a changelog's place. */
function sourcePath({ name }: PackageSpec): string {
  return `${COMPONENT}/${name.startsWith('lib') ? name.slice(0, 4) : name.slice(0, 1)}/${name}`;
}

function poolPath(spec: PackageSpec, fileName: string): string {
  return `pool/${sourcePath(spec)}/${fileName}`;
}

async function writeChangelog(folder: string, spec: PackageSpec, maintainer: string): Promise<void> {
  const path = join(folder, 'changelogs', sourcePath(spec), `${spec.name}_${versionText(spec)}_changelog`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, debChangelog(spec, { maintainer }));
}

interface Stanza {
  readonly name: string;
  readonly version: string;
  readonly fileName: string;
  readonly text: string;
}

async function scan({ run }: Contents, folder: string): Promise<Stanza[]> {
  const text = (await ftparchive(run, folder, [], ['packages', 'pool'])).toString();
  return stanzasOf(text)
    .map((stanza) => {
      const field = (name: string): string => fieldOf(stanza, name);
      const fileName = field('Filename').split('/').at(-1) ?? '';
      return { name: field('Package'), version: field('Version'), fileName, text: stanza };
    })
    .sort((a, b) => (a.fileName < b.fileName ? -1 : 1));
}

async function ftparchive(
  run: Contents['run'],
  folder: string,
  options: readonly string[],
  words: readonly string[],
): Promise<Buffer> {
  // One hash: APT fetches an index by the strongest that is named, and by-hash has SHA-256.
  const without = ['MD5', 'SHA1', 'SHA512'].map((hash) => `APT::FTPArchive::${hash}=false`);
  const args = [...without, ...options].flatMap((option) => ['-o', option]);
  // APT_CONFIG: what this machine's apt is set up like does not count.
  const env = { ...cleanEnvironment(), APT_CONFIG: '/dev/null' };
  return await runOk(run, 'apt-ftparchive', [...args, ...words], { cwd: folder, env });
}

function indexText(stanzas: readonly Stanza[], { files, offers, followers }: SuiteContents, suite: Suite): string {
  const phases = new Map<string, number>();
  for (const { kernel, states } of offers) {
    const newest = states.at(-1);
    if (newest?.phase === undefined || suite === 'early') continue;
    phases.set(`${metapackageName(kernel.release)} ${newest.serial}`, newest.phase);
    // A new build of the same fix is an upgrade by itself.
    if (newest.head !== undefined) phases.set(`${newest.head.package} ${newest.head.version}`, newest.phase);
  }
  for (const { name, version, releases } of followers) {
    // A package that is new to a host comes whatever its share: a kernel's first state brings what follows it to its
    // share.
    const first = offers
      .filter(({ kernel, states }) => releases.includes(kernel.release) && states.length === 1)
      .flatMap(({ states: [state] }) => state?.phase ?? []);
    if (suite !== 'early' && first.length > 0) phases.set(`${name} ${version}`, Math.min(...first));
  }
  return stanzas
    .filter(({ fileName }) => files.has(fileName))
    .map(({ name, version, text }) => {
      const phase = phases.get(`${name} ${version}`);
      return `${text}\n${phase === undefined ? '' : `Phased-Update-Percentage: ${phase}\n`}\n`;
    })
    .join('');
}

async function writeIndex(folder: string, text: string): Promise<void> {
  const byHash = join(folder, 'by-hash/SHA256');
  await mkdir(byHash, { recursive: true });
  for (const [name, data] of [
    ['Packages', Buffer.from(text)],
    ['Packages.gz', gzipSync(text, { level: 9 })],
  ] as const) {
    await writeFile(join(folder, name), data);
    await writeFile(join(byHash, sha256(data)), data);
  }
}

/** What an InRelease of a moment ago names is still there (Acquire-By-Hash). */
async function keepOldIndices(folder: string, previous: string | undefined, now: Date): Promise<void> {
  if (previous === undefined) return;
  const [from, to] = [join(previous, 'by-hash/SHA256'), join(folder, 'by-hash/SHA256')];
  const present = new Set(await readdir(to));
  for (const name of await readdir(from).catch(() => [])) {
    if (present.has(name)) continue;
    const age = now.getTime() - (await stat(join(from, name))).mtimeMs;
    if (age < KEPT_INDEX_MS) await linkOrCopy(join(from, name), join(to, name));
  }
}

async function writeRelease(
  { run, signer, settings, now }: Contents,
  folder: string,
  suite: Suite,
  validUntil: Date,
): Promise<void> {
  const fields = {
    Origin: settings.origin,
    Label: suite === 'security' ? `${settings.origin}-security` : settings.origin,
    Suite: suite,
    Codename: suite,
    Date: mailDate(now),
    'Acquire-By-Hash': 'yes',
    Architectures: 'amd64',
    Components: COMPONENT,
    Description: `livepatches of ${settings.origin}`,
  };
  const options = Object.entries(fields).map(([name, value]) => `APT::FTPArchive::Release::${name}=${value}`);
  const made = await ftparchive(run, folder, options, ['release', `dists/${suite}`]);
  // Fields that apt-ftparchive does not write.
  const changelogs = `${settings.url.replace(/\/+$/, '')}/changelogs/@CHANGEPATH@_changelog`;
  const text = `Changelogs: ${changelogs}\nValid-Until: ${mailDate(validUntil)}\n${made.toString()}`;
  const dist = join(folder, 'dists', suite);
  await writeFile(join(dist, 'Release'), text);
  await writeFile(join(dist, 'Release.gpg'), await signer.detached(text, now, 'text'));
  await writeFile(join(dist, 'InRelease'), await signer.inline(text, now));
}
