import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { runOk, withLock, writeFileAtomic } from '@kmend/base/node';
import type { Archive } from './archive/archive.ts';
import { KernelError } from './error.ts';
import type { UnpackEdges } from './store/unpack.ts';

const TREE_LIMIT_MS = 15 * 60_000;

/** Kernel sources as Debian's `linux-source-*` packages carry them: upstream's release with Debian's patches applied. */
export class SourceStore {
  readonly #edges: UnpackEdges;
  readonly #archive: Archive;
  readonly #directory: string;

  constructor(edges: UnpackEdges, archive: Archive, cacheDirectory: string) {
    this.#edges = edges;
    this.#archive = archive;
    this.#directory = join(cacheDirectory, 'sources');
  }

  /**
   * A folder that holds at least `paths` of one version's source tree, unpacked. A path that the version does not have is
   * missing in it.
   */
  async files(suite: string, version: string, paths: readonly string[]): Promise<string> {
    const name = sourcePackageOf(version);
    const directory = join(this.#directory, version);
    const { run, signal, progress } = this.#edges;
    return await withLock(
      join(this.#directory, `.${version}.lock`),
      async () => {
        const missing: string[] = [];
        for (const path of paths) if (!(await exists(join(directory, path)))) missing.push(path);
        if (missing.length === 0) return directory;
        await mkdir(this.#directory, { recursive: true });
        const tarball = await this.#tarball(suite, version);
        const temporary = await mkdtemp(join(this.#directory, '.unpack-'));
        try {
          progress.step(`unpack ${missing.join(' ')} of ${version}`);
          const wanted = missing.map((path) => `${name}/${path}`);
          // tar ends with 2 when a name is not in the archive; the others are unpacked all the same.
          const args = ['--zstd', '-xf', tarball, '-C', temporary, '--', ...wanted];
          const result = await run('tar', args, { signal, timeoutMs: TREE_LIMIT_MS });
          if (result.exitCode !== 0 && !/Not found in archive/.test(result.stderr)) {
            throw new KernelError('package-damaged', `${name} ${version} cannot be unpacked: ${result.stderr.trim()}`);
          }
          for (const path of missing) {
            const from = join(temporary, name, path);
            if (!(await exists(from))) continue;
            const to = join(directory, path);
            await mkdir(join(to, '..'), { recursive: true });
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
  async #tarball(suite: string, version: string): Promise<string> {
    const path = join(this.#directory, `${version}.tar.zst`);
    if (await exists(path)) return path;
    const name = sourcePackageOf(version);
    const deb = await this.#archive.fetch(await this.#archive.find(suite, name, version));
    const { run, signal, progress } = this.#edges;
    const temporary = await mkdtemp(join(this.#directory, '.repack-'));
    try {
      progress.step(`repack the source ${version}`);
      await runOk(run, 'dpkg-deb', ['-x', deb, temporary], { signal });
      const script = 'set -o pipefail; xz -dc -T0 "$1" | zstd -q -1 -T0 -o "$2"';
      const packed = join(temporary, 'source.tar.zst');
      const args = ['-c', script, 'bash', join(temporary, 'usr', 'src', `${name}.tar.xz`), packed];
      await runOk(run, 'bash', args, { signal, timeoutMs: TREE_LIMIT_MS });
      await rename(packed, path);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    return path;
  }

  /** `changelog.Debian` of one version, whole. */
  async changelog(suite: string, version: string): Promise<string> {
    const name = sourcePackageOf(version);
    const path = join(this.#directory, `${version}.changelog`);
    const known = await readFile(path, 'utf8').catch(() => undefined);
    if (known !== undefined) return known;
    const deb = await this.#archive.fetch(await this.#archive.find(suite, name, version));
    const { run, signal } = this.#edges;
    const member = `./usr/share/doc/${name}/changelog.Debian.gz`;
    const script = 'dpkg-deb --fsys-tarfile "$1" | tar -xO "$2"';
    const packed = await runOk(run, 'sh', ['-c', script, 'sh', deb, member], { signal });
    const text = gunzipSync(packed, { maxOutputLength: 256 << 20 }).toString('utf8');
    await writeFileAtomic(path, text);
    return text;
  }
}

/** Title that the changelog gives to the upstream change with this CVE: its line is `- <title> (CVE-...)`. */
export function titleOf(changelog: string, cve: string): string | undefined {
  const at = changelog.indexOf(`(${cve}`);
  const found = at === -1 ? changelog.indexOf(cve) : at;
  if (found === -1) return undefined;
  // An entry begins with "- " after spaces; long titles go on in the next line.
  const start = Math.max(changelog.lastIndexOf('\n    - ', found), changelog.lastIndexOf('\n  * ', found));
  if (start === -1 || found - start > 600) return undefined;
  return changelog
    .slice(start, found)
    .replace(/^\n\s+[-*] /, '')
    .replaceAll(/\s+/g, ' ')
    .replace(/\[[^\]]*\]\s*/, '')
    .trim();
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

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
