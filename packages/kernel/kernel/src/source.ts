import { lstat, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Edges } from '@kmend/base';
import { bashArguments, runOk, withLock, writeFileAtomic } from '@kmend/base/node';
import type { Packages } from './archive/archive.ts';
import { KernelError } from './error.ts';
import { unpackPackage } from './store/package.ts';
import { compareVersions } from './versions.ts';

const TREE_LIMIT_MS = 15 * 60_000;
/** Bytes of an unpacked source: that of 6.1 has 1.3 billion. */
const SOURCE_LIMIT = 2 ** 32;

/**
 * Kernel sources as Debian's `linux-source-*` packages carry them: upstream's release with Debian's patches applied.
 */
export class SourceStore {
  readonly #edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly #archive: Packages;
  /** Where this keeps everything. */
  readonly directory: string;

  constructor(edges: Pick<Edges, 'run' | 'progress' | 'signal'>, archive: Packages, cacheDirectory: string) {
    this.#edges = edges;
    this.#archive = archive;
    this.directory = join(cacheDirectory, 'sources');
  }

  /**
   * A folder that holds at least the files `paths` of one version's source tree, unpacked. A file that the version does
   * not have is missing in it. `source-path` for a path that leads out of the tree.
   */
  async files(suite: string, version: string, paths: readonly string[]): Promise<string> {
    const name = sourcePackageOf(version);
    for (const path of paths) checkPath(path);
    const directory = join(this.directory, version);
    const { run, signal, progress } = this.#edges;
    const absent = async (): Promise<string[]> => {
      const missing: string[] = [];
      for (const path of paths) if (!(await isFile(join(directory, path)))) missing.push(path);
      return missing;
    };
    // A file comes whole, and stays as it is: most calls, of which a build makes thousands, need no lock.
    if ((await absent()).length === 0) return directory;
    return await withLock(
      join(this.directory, `.${version}.lock`),
      async () => {
        const missing = await absent();
        if (missing.length === 0) return directory;
        const tarball = await this.tarball(suite, version);
        const temporary = await this.#temporary(version);
        try {
          progress.step(`unpack ${missing.join(' ')} of ${version}`);
          const wanted = missing.map((path) => `${name}/${path}`);
          const args = ['--zstd', '-xf', tarball, '-C', temporary, '--', ...wanted];
          const result = await run('tar', args, { signal, timeoutMs: TREE_LIMIT_MS });
          if (result.exitCode !== 0 && !saysOnlyMissing(result.stderr)) {
            // Made from a verified package, so damaged since: the next call makes it again.
            await rm(tarball, { force: true });
            throw new KernelError('package-damaged', `${tarball} cannot be unpacked: ${result.stderr.trim()}`, {
              hint: 'run the command again: it is created again',
            });
          }
          for (const path of missing) {
            const from = join(temporary, name, path);
            if (!(await isFile(from))) continue;
            const to = join(directory, path);
            await mkdir(dirname(to), { recursive: true });
            await rename(from, to);
          }
        } finally {
          await rm(temporary, { recursive: true, force: true });
        }
        return directory;
      },
      { signal },
    );
  }

  /** The source of one version, packed so that it unpacks in a second: files are asked for one fix after the other. */
  async tarball(suite: string, version: string): Promise<string> {
    const path = join(this.directory, `${version}.tar.zst`);
    if (await isFile(path)) return path;
    const name = sourcePackageOf(version);
    const deb = await this.#archive.fetch(await this.#archive.find(suite, name, version));
    const { run, signal, progress } = this.#edges;
    const temporary = await this.#temporary(version);
    try {
      progress.step(`repack the source ${version}`);
      await unpackPackage(this.#edges, deb, temporary);
      // What is longer is cut off, which ends the pipeline with an error.
      const script = 'set -o pipefail; xz -dc -T0 "$1" | head -c "$3" | zstd -q -1 -T0 -o "$2"';
      const packed = join(temporary, 'source.tar.zst');
      const args = bashArguments(script, join(temporary, 'usr', 'src', `${name}.tar.xz`), packed, `${SOURCE_LIMIT}`);
      await runOk(run, 'bash', args, { signal, timeoutMs: TREE_LIMIT_MS });
      await rename(packed, path);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    return path;
  }

  /** An empty folder for the holder of the version's lock; one that a killed holder left goes first. */
  async #temporary(version: string): Promise<string> {
    const path = join(this.directory, `.${version}.tmp`);
    await rm(path, { recursive: true, force: true });
    await mkdir(path, { recursive: true });
    return path;
  }

  /** The newest version of the source in a suite, of the series of `version`; that itself where none is newer. */
  async newest(suite: string, version: string): Promise<string> {
    const name = sourcePackageOf(version);
    const versions = (await this.#archive.packages(suite)).flatMap((entry) =>
      entry.name === name ? entry.version : [],
    );
    return [version, ...versions].reduce((one, other) => (compareVersions(other, one) > 0 ? other : one));
  }

  /** `changelog.Debian` of one version, whole. */
  async changelog(suite: string, version: string): Promise<string> {
    const name = sourcePackageOf(version);
    const path = join(this.directory, `${version}.changelog`);
    const known = await readFile(path, 'utf8').catch(() => undefined);
    if (known !== undefined) return known;
    const deb = await this.#archive.fetch(await this.#archive.find(suite, name, version));
    const { run, signal } = this.#edges;
    const member = `./usr/share/doc/${name}/changelog.Debian.gz`;
    const script = 'set -o pipefail; dpkg-deb --fsys-tarfile "$1" | tar -xO "$2"';
    const packed = await runOk(run, 'bash', bashArguments(script, deb, member), { signal });
    const text = gunzipSync(packed, { maxOutputLength: 256 << 20 }).toString('utf8');
    await writeFileAtomic(path, text);
    return text;
  }
}

/** Title that the changelog gives to the upstream change with this CVE: its entry is `- <title> (CVE-...)`. */
export function titleOf(changelog: string, cve: string): string | undefined {
  if (!/^CVE-\d{4}-\d{4,}$/.test(cve)) return undefined;
  // Not a longer number that begins like it: CVE-2026-5299 is not CVE-2026-52999.
  const found = new RegExp(`${cve}(?!\\d)`).exec(changelog)?.index;
  if (found === undefined) return undefined;
  // An entry begins with "- " or "* " after spaces; long titles go on in the next line.
  const start = Math.max(changelog.lastIndexOf('\n    - ', found), changelog.lastIndexOf('\n  * ', found));
  if (start === -1 || found - start > 600) return undefined;
  const title = changelog
    .slice(start, found)
    .replace(/^\n\s+[-*] /, '')
    .replaceAll(/\s+/g, ' ')
    // Architectures in front: `[x86] `; behind: the bracket the number stands in, with those before it.
    .replace(/^(?:\[[^\]]*\] ?)+/, '')
    .replace(/\((?:CVE-[\d-]+,? ?)*$/, '')
    .trim();
  return title === '' ? undefined : title;
}

/** `6.1.170-3` is in `linux-source-6.1`. */
export function sourcePackageOf(version: string): string {
  const series = /^\d+\.\d+/.exec(version)?.[0];
  if (series === undefined || !/^[0-9][0-9A-Za-z.+~-]*$/.test(version)) {
    throw new KernelError('kernel-spec', `${version} is not a version of Debian's kernel source`, {
      hint: 'e.g. 6.1.170-3',
    });
  }
  return `linux-source-${series}`;
}

function checkPath(path: string): void {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..') || /[^ -~]|\\/.test(path)) {
    throw new KernelError('source-path', `${JSON.stringify(path)} is not the path of a file in the kernel source`, {
      hint: 'e.g. net/ipv4/tcp_input.c',
    });
  }
}

/**
 * tar ends with 2 when a name is not in the archive, and unpacks the others all the same; any other complaint is a
 * fault.
 */
function saysOnlyMissing(stderr: string): boolean {
  const lines = stderr.trim().split('\n');
  return lines.every((line) =>
    /: Not found in archive$|: Exiting with failure status due to previous errors$/.test(line),
  );
}

/** A link is none: it could lead anywhere. */
async function isFile(path: string): Promise<boolean> {
  return await lstat(path).then(
    (it) => it.isFile(),
    () => false,
  );
}
