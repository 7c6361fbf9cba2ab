import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type Clock, type Edges, fieldOf, furtherLinesOf, stanzasOf } from '@kmend/base';
import { runOk, sha256 } from '@kmend/base/node';
import { KernelError } from '../error.ts';
import { download, type HttpEdges } from './http.ts';

/** A binary package, or a file of a source package, as the archive's index lists it. */
export interface PackageEntry {
  readonly name: string;
  readonly version: string;
  /** Full address of the `.deb`, or of the file. */
  readonly url: string;
  readonly size: number;
  readonly sha256: string;
  readonly depends: string;
  /** Until when the index was valid that lists it, if that was over and the operator accepted it. */
  readonly indexExpired?: string;
}

/**
 * How old an index may be. `valid`: not beyond its Valid-Until. `development`: beyond it if the suite is under
 * development (unstable, testing, experimental), by the operator's word. `past`: snapshots of the past, whose
 * Valid-Until is over by design.
 */
export type Age = 'valid' | 'development' | 'past';

export type ArchiveEdges = HttpEdges & Pick<Edges, 'run'>;

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const RELEASE_LIMIT = 4 << 20;
const INDEX_LIMIT = 64 << 20;
/** Below the longest string of the platform. */
const INDEX_UNPACKED_LIMIT = 256 << 20;

/** A list of the archive, and how it is read. */
interface List {
  readonly path: string;
  readonly parse: (text: string, base: string) => PackageEntry[];
}

const PACKAGES: List = { path: 'main/binary-amd64/Packages.xz', parse: parsePackages };
const SOURCES: List = { path: 'main/source/Sources.xz', parse: parseSources };

/** The files of the kernel's source packages of one distribution, checked as `readIndex` does. */
export async function readSources(
  edges: ArchiveEdges,
  base: string,
  distribution: string,
  age: Age,
): Promise<PackageEntry[] | undefined> {
  return await readList(edges, base, distribution, age, SOURCES);
}

/**
 * The kernel packages (`linux-*`) of one distribution (`bookworm`, `bookworm-security`, ...) under `base`: InRelease
 * checked with Debian's keyring, the index with the hashes in it. `undefined` where the archive has no such
 * distribution.
 */
export async function readIndex(
  edges: ArchiveEdges,
  base: string,
  distribution: string,
  age: Age,
): Promise<PackageEntry[] | undefined> {
  return await readList(edges, base, distribution, age, PACKAGES);
}

async function readList(
  edges: ArchiveEdges,
  base: string,
  distribution: string,
  age: Age,
  { path, parse }: List,
): Promise<PackageEntry[] | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-index-'));
  try {
    const root = `${base}/dists/${distribution}`;
    edges.progress.step(`read the package index of ${distribution}`);
    const signed = await download(edges, `${root}/InRelease`, join(directory, 'InRelease'), {
      limit: RELEASE_LIMIT,
    });
    if (signed === undefined) return undefined;
    const release = await verifiedRelease(edges, signed, join(directory, 'Release'));
    checkName(release, distribution);
    const indexExpired = age === 'past' ? undefined : expiry(edges.clock, release, distribution, age);
    if (indexExpired !== undefined)
      edges.progress.step(
        `the index of ${distribution} was valid until ${indexExpired}: taken by KMEND_ACCEPT_EXPIRED`,
      );
    const expected = hashOf(release, path);
    const packed = join(directory, basename(path));
    // By hash: the index may be replaced between the two downloads (Debian's Acquire-By-Hash).
    const byHash = `${root}/${dirname(path)}/by-hash/SHA256/${expected.sha256}`;
    const wanted = { limit: INDEX_LIMIT, expected, mismatch: 'archive-garbage' } as const;
    const found =
      (await download(edges, byHash, packed, wanted)) ?? (await download(edges, `${root}/${path}`, packed, wanted));
    if (found === undefined)
      throw new KernelError('archive-garbage', `${root}/${path} is named in InRelease but not there`);
    const text = await runOk(edges.run, 'xz', ['-dc', packed], {
      maxOutput: INDEX_UNPACKED_LIMIT,
      signal: edges.signal,
    });
    const entries = parse(text.toString('utf8'), base);
    return indexExpired === undefined ? entries : entries.map((entry) => ({ ...entry, indexExpired }));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function verifiedRelease(edges: ArchiveEdges, signed: string, output: string): Promise<string> {
  const result = await edges.run('gpgv', ['--keyring', KEYRING, '--output', output, signed], {
    signal: edges.signal,
    timeoutMs: 30_000,
  });
  if (result.exitCode !== 0) {
    throw new KernelError(
      'archive-untrusted',
      `the archive's InRelease is not signed by Debian: ${result.stderr.trim().split('\n').at(-1)}`,
      {
        hint: 'the mirror may be tampered with; if the suite is newer than this machine, upgrade the package debian-archive-keyring',
      },
    );
  }
  // What gpgv wrote is what was signed, and nothing around it.
  return await readFile(output, 'utf8');
}

/** A signed index of another distribution, put in this one's place, would bring back packages with known flaws. */
function checkName(release: string, distribution: string): void {
  const names = ['Suite', 'Codename'].map((field) => new RegExp(`^${field}: (.+)$`, 'm').exec(release)?.[1]);
  if (!names.includes(distribution)) {
    throw new KernelError('archive-untrusted', `the InRelease of ${distribution} is that of ${names.join(', ')}`, {
      hint: 'the mirror is wrong or tampered with: name another one with KMEND_MIRROR, and the suite by its codename',
    });
  }
}

/** Suites that change until they are released (field `Suite` of their Release files). */
const UNDER_DEVELOPMENT = /^Suite: (?:unstable|testing|experimental)$/m;

/** The Valid-Until that is over and was accepted; `archive-expired` where it may not be. */
function expiry(clock: Clock, release: string, distribution: string, age: Age): string | undefined {
  const until = /^Valid-Until: (.+)$/m.exec(release)?.[1];
  // A date that cannot be read does not compare, so it is not in the future either.
  if (until === undefined || Date.parse(until) >= clock.now().getTime()) return undefined;
  const develops = UNDER_DEVELOPMENT.test(release);
  if (age === 'development' && develops) return until;
  const stale = "the mirror is stale, or this machine's clock is wrong";
  throw new KernelError('archive-expired', `the index of ${distribution} was valid until ${until}`, {
    hint: develops ? `${stale}; to take it nevertheless, set KMEND_ACCEPT_EXPIRED=${distribution}` : stale,
  });
}

function hashOf(release: string, path: string): { size: number; sha256: string } {
  const section = release.slice(release.indexOf('\nSHA256:'));
  for (const line of section.split('\n').slice(2)) {
    if (!line.startsWith(' ')) break;
    const [sha256Hex, size, name] = line.trim().split(/\s+/);
    if (name === path && sha256Hex !== undefined) return { size: Number(size), sha256: sha256Hex };
  }
  throw new KernelError('archive-garbage', `InRelease does not name ${path}`);
}

/** Stanzas of a Packages file (Debian policy, "Control files"), `linux-*` only. */
export function parsePackages(text: string, base: string): PackageEntry[] {
  const entries: PackageEntry[] = [];
  for (const stanza of stanzasOf(text)) {
    if (!stanza.startsWith('Package: linux-')) continue;
    const field = (name: string): string => fieldOf(stanza, name);
    const filename = field('Filename');
    const hash = field('SHA256');
    const size = field('Size');
    if (!isSafePath(filename) || !/^[0-9a-f]{64}$/.test(hash) || !/^\d{1,12}$/.test(size)) continue;
    entries.push({
      name: field('Package'),
      version: field('Version'),
      url: `${base}/${filename}`,
      size: Number(size),
      sha256: hash,
      depends: field('Depends'),
    });
  }
  return entries;
}

/** The files of the source package `linux` in a Sources file (Debian policy, "Debian source control files"). */
export function parseSources(text: string, base: string): PackageEntry[] {
  const entries: PackageEntry[] = [];
  for (const stanza of stanzasOf(text)) {
    if (!/^Package: linux\n/.test(stanza)) continue;
    const directory = fieldOf(stanza, 'Directory');
    for (const line of furtherLinesOf(stanza, 'Checksums-Sha256')) {
      const [hash = '', size = '', file = ''] = line.split(/\s+/);
      if (!isSafePath(`${directory}/${file}`) || file.includes('/')) continue;
      if (!/^[0-9a-f]{64}$/.test(hash) || !/^\d{1,12}$/.test(size)) continue;
      const url = `${base}/${directory}/${file}`;
      entries.push({
        name: 'linux',
        version: fieldOf(stanza, 'Version'),
        url,
        size: Number(size),
        sha256: hash,
        depends: '',
      });
    }
  }
  return entries;
}

function isSafePath(path: string): boolean {
  return path !== '' && !path.split('/').some((part) => part === '' || part === '..');
}

/** A stable name for a cached file of a package. */
export function cacheName(entry: PackageEntry): string {
  const kind = /\.(?:deb|debian\.tar\.xz)$/.exec(entry.url)?.[0] ?? '.deb';
  return `${entry.name}_${entry.version.replaceAll(':', '%3a')}_${sha256(entry.sha256).slice(0, 8)}${kind}`;
}
