import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256File, withLock } from '@kmend/base/node';
import { KernelError } from '../error.ts';
import { download } from './http.ts';
import { type ArchiveEdges, cacheName, type PackageEntry, readIndex, readSources } from './index.ts';
import { findInSnapshot, newestInSnapshot } from './snapshot.ts';
import { baseSuite } from './suite.ts';

export interface Mirrors {
  readonly main: string;
  readonly security: string;
  readonly snapshot: string;
}

export function mirrors(env: Readonly<Record<string, string | undefined>>): Mirrors {
  return {
    main: base(env['KMEND_MIRROR'], 'http://deb.debian.org/debian'),
    security: base(env['KMEND_SECURITY_MIRROR'], 'http://deb.debian.org/debian-security'),
    snapshot: base(env['KMEND_SNAPSHOT_MIRROR'], 'http://snapshot.debian.org'),
  };
}

/** Empty is unset; paths are appended with a slash. */
function base(named: string | undefined, usual: string): string {
  return (named || usual).replace(/\/+$/, '');
}

/** The suites whose index may be out of date by the operator's word: `KMEND_ACCEPT_EXPIRED`, separated by commas. */
export function acceptedExpired(env: Readonly<Record<string, string | undefined>>): ReadonlySet<string> {
  const named = env['KMEND_ACCEPT_EXPIRED'] ?? '';
  return new Set(named.split(',').flatMap((suite) => (suite.trim() === '' ? [] : [suite.trim()])));
}

/** Where packages go first: fixes come with the next upload, and there are no other parts. */
const WITHOUT_PARTS = new Set(['sid', 'unstable', 'experimental', 'rc-buggy']);

const PACKAGE_LIMIT = 2 ** 31;

/** What the stores need of an archive. */
export type Packages = Pick<Archive, 'packages' | 'find' | 'newest' | 'fetch'>;

/** What the store of kernels needs of one beside that. */
export type SourceFiles = Pick<Archive, 'debianFiles'>;

/** A distribution of a mirror; `variable`: what names another mirror, absent for the suite that was asked for. */
interface Part {
  readonly mirror: string;
  readonly distribution: string;
  readonly variable?: string;
}

/** Debian's archive: packages by name and version, of a suite's main, updates and security parts. */
export class Archive {
  readonly #edges: ArchiveEdges;
  readonly #mirrors: Mirrors;
  readonly #cache: string;
  readonly #acceptExpired: ReadonlySet<string>;
  readonly #indexes = new Map<string, Promise<PackageEntry[]>>();

  /** `acceptExpired`: suites under development whose index may be out of date, see `acceptedExpired`. */
  constructor(
    edges: ArchiveEdges,
    where: Mirrors,
    cacheDirectory: string,
    acceptExpired: ReadonlySet<string> = new Set(),
  ) {
    this.#edges = edges;
    this.#mirrors = where;
    this.#cache = join(cacheDirectory, 'packages');
    this.#acceptExpired = acceptExpired;
  }

  /** All kernel packages of a suite. `kernel-unknown` where there is no such suite. */
  packages(suite: string): Promise<PackageEntry[]> {
    const known = this.#indexes.get(suite);
    if (known !== undefined) return known;
    const asked = this.#read(suite);
    this.#indexes.set(suite, asked);
    // A failure is not remembered: the next call asks again.
    asked.catch(() => this.#indexes.delete(suite));
    return asked;
  }

  async #read(suite: string): Promise<PackageEntry[]> {
    const lists: PackageEntry[][] = [];
    for (const part of this.#partsOf(suite)) lists.push(await this.#list(part, readIndex));
    return lists.flat();
  }

  /** A suite, and the parts that a released one has beside it. */
  #partsOf(suite: string): Part[] {
    const { main, security } = this.#mirrors;
    const updates = { mirror: main, distribution: `${suite}-updates`, variable: 'KMEND_MIRROR' };
    const fixes = { mirror: security, distribution: `${suite}-security`, variable: 'KMEND_SECURITY_MIRROR' };
    const own = { mirror: suite.endsWith('-security') ? security : main, distribution: suite };
    return WITHOUT_PARTS.has(suite) || baseSuite(suite) !== suite ? [own] : [own, updates, fixes];
  }

  /** What a part lists. Without one of them kernels with known flaws would pass for the newest. */
  async #list({ mirror, distribution, variable }: Part, read: typeof readIndex): Promise<PackageEntry[]> {
    // The word about an index out of date is for the suite that it names.
    const age = this.#acceptExpired.has(distribution) ? 'development' : 'valid';
    const entries = await read(this.#edges, mirror, distribution, age);
    if (entries !== undefined) return entries;
    if (variable === undefined) {
      throw new KernelError('kernel-unknown', `the archive has no suite ${distribution}`, {
        hint: 'name a suite such as bookworm, trixie, trixie-backports or sid',
      });
    }
    throw new KernelError('archive-incomplete', `the mirror at ${mirror} has no ${distribution}`, {
      hint: `name a mirror that has all parts of the suite with ${variable}`,
    });
  }

  /** One package at one version; from the snapshot archive where the suite has dropped it. */
  async find(suite: string, name: string, version: string): Promise<PackageEntry> {
    const inSuite = (await this.packages(suite)).find((entry) => entry.name === name && entry.version === version);
    return inSuite ?? (await findInSnapshot(this.#edges, this.#mirrors.snapshot, suite, name, version));
  }

  /**
   * Debian's own part of the kernel's source package at one version, `linux_V.debian.tar.xz`. `package-unknown` where
   * the suite has moved on to another version.
   */
  async debianFiles(suite: string, version: string): Promise<PackageEntry> {
    for (const part of this.#partsOf(suite)) {
      const files = await this.#list(part, readSources);
      const found = files.find((file) => file.version === version && file.url.endsWith('.debian.tar.xz'));
      if (found !== undefined) return found;
    }
    throw new KernelError('package-unknown', `the suite ${suite} has no source package linux ${version} any more`, {
      hint: 'patches of a real-time kernel are taken from there: add the newest kernel of that flavour',
    });
  }

  /** The newest version that the snapshot archive knows of a package that no suite has any more. */
  async newest(name: string): Promise<string | undefined> {
    return await newestInSnapshot(this.#edges, this.#mirrors.snapshot, name);
  }

  /** The `.deb`, verified: from the cache, where its hash is checked again, or downloaded. */
  async fetch(entry: PackageEntry): Promise<string> {
    const path = join(this.#cache, cacheName(entry));
    const { signal, progress } = this.#edges;
    const onWait = (holder: number): void => progress.step(`wait for process ${holder}, which fetches ${entry.name}`);
    return await withLock(`${path}.lock`, () => this.#fetch(entry, path), { signal, onWait });
  }

  async #fetch(entry: PackageEntry, path: string): Promise<string> {
    const cached = await access(path).then(
      () => true,
      () => false,
    );
    if (cached && (await sha256File(path)) === entry.sha256) return path;
    this.#edges.progress.step(`fetch ${entry.name} ${entry.version}`);
    const found = await download(this.#edges, entry.url, path, { limit: PACKAGE_LIMIT, expected: entry });
    if (found === undefined) {
      throw new KernelError('package-unknown', `${entry.url} is in the index but not on the mirror`, {
        hint: 'the mirror is incomplete or being updated: try again, or name another one with KMEND_MIRROR or KMEND_SECURITY_MIRROR',
      });
    }
    return found;
  }
}
