import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { run, runOk, sha256, sha256File } from '@kmend/base/node';
import type { Packages, SourceFiles } from '../archive/archive.ts';
import type { PackageEntry } from '../archive/index.ts';
import { KernelError } from '../error.ts';
import { encodeKallsyms, sampleSymbols } from './kallsyms.ts';
import { makeBzImage, makeVmlinux } from './vmlinux.ts';

/** Which Debian's packages to make: 12 (all in one, `/boot`, `/lib`), 13 (`/usr/lib`), 14 (image in parts). */
export type DebianLayout = 12 | 13 | 14;

export interface MadeUpKernel {
  readonly release: string;
  readonly version: string;
  readonly layout?: DebianLayout;
  /** Text of `.config`; `null` leaves the file out. */
  readonly config?: string | null;
  readonly vmlinuz?: Uint8Array;
  readonly modules?: boolean;
}

export const BUILD_ID = '0123456789abcdef0123456789abcdef01234567';
export const SOUND_CONFIG = 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"\nCONFIG_LIVEPATCH=y\n';

/** A bzImage with sample symbols and `BUILD_ID` (or another, or none). */
export function soundVmlinuz(buildId: string | undefined = BUILD_ID): Buffer {
  const rodata = encodeKallsyms(sampleSymbols(false), { layout: '6.12' });
  return makeBzImage(gzipSync(makeVmlinux(rodata, buildId)));
}

type Tree = Readonly<Record<string, string | Uint8Array>>;

/** Real `.deb` packages of made-up content in a folder, in the place of a mirror. `fetched` counts. */
export class PackageFolder implements Packages, SourceFiles {
  readonly #directory: string;
  readonly #entries: PackageEntry[] = [];
  readonly fetched: string[] = [];

  constructor(directory: string) {
    this.#directory = directory;
  }

  async packages(): Promise<PackageEntry[]> {
    return this.#entries.filter(({ name }) => !this.past.some((entry) => entry.name === name));
  }

  async find(_suite: string, name: string, version: string): Promise<PackageEntry> {
    const found = this.#entries.find((entry) => entry.name === name && entry.version === version);
    if (found === undefined) throw new KernelError('package-unknown', `no ${name} ${version}`);
    return found;
  }

  /** Debian's part of the source package `linux`, where `addPatches` was called for that version. */
  async debianFiles(suite: string, version: string): Promise<PackageEntry> {
    return await this.find(suite, 'linux', version);
  }

  /** Patches of PREEMPT_RT, by name, in the order in which they apply. */
  async addPatches(version: string, patches: Tree): Promise<void> {
    const series = Object.keys(patches).join('\n');
    const tree = join(this.#directory, 'debian-files');
    for (const [name, content] of Object.entries({ ...patches, series: `# in order\n${series}\n` })) {
      const path = join(tree, 'debian', 'patches-rt', name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    }
    const url = join(this.#directory, `linux_${version}.debian.tar.xz`);
    await runOk(run, 'tar', ['-cJf', url, '-C', tree, 'debian']);
    const { size } = await stat(url);
    this.#entries.push({ name: 'linux', version, url, size, sha256: await sha256File(url), depends: '' });
  }

  /** Packages that `packages` does not list: what the snapshot archive would know. */
  readonly past: { readonly name: string; readonly version: string }[] = [];

  async newest(name: string): Promise<string | undefined> {
    return this.past.find((entry) => entry.name === name)?.version;
  }

  async fetch(entry: PackageEntry): Promise<string> {
    this.fetched.push(entry.name);
    return entry.url;
  }

  async add(name: string, version: string, files: Tree, depends = ''): Promise<void> {
    const tree = join(this.#directory, 'tree');
    await rm(tree, { recursive: true, force: true });
    const control = `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: made up\n`;
    for (const [path, content] of Object.entries({ 'DEBIAN/control': control, ...files })) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await writeFile(join(tree, path), content);
    }
    const url = join(this.#directory, `${name}_${version}.deb`);
    await runOk(run, 'dpkg-deb', ['-Znone', '--root-owner-group', '--build', tree, url]);
    this.#entries.push({
      name,
      version,
      url,
      size: (await stat(url)).size,
      sha256: await sha256File(url),
      depends,
    });
  }

  async addKernel(kernel: MadeUpKernel): Promise<void> {
    const { release, version, layout = 12, config = SOUND_CONFIG, vmlinuz = soundVmlinuz(), modules = true } = kernel;
    const root = layout === 12 ? `lib/modules/${release}` : `usr/lib/modules/${release}`;
    const lists: Tree = modules ? { [`${root}/modules.order`]: 'kernel/net/some-module.ko\n' } : {};
    const objects: Tree = { [`${root}/kernel/net/some-module.ko`]: 'a module' };
    const documents: Tree = { [`usr/share/doc/linux-image-${release}/copyright`]: 'GPL-2' };
    if (layout === 14) {
      await this.add(`linux-base-${release}`, version, { ...lists, ...documents });
      await this.add(`linux-binary-${release}`, version, { [`${root}/vmlinuz`]: vmlinuz });
      await this.add(`linux-modules-${release}`, version, objects);
      const parts = ['base', 'binary', 'modules'].map((part) => `linux-${part}-${release} (= ${version})`);
      await this.add(`linux-image-${release}`, version, {}, ['dracut | initramfs-tools', ...parts].join(', '));
    } else {
      const image = { [`boot/vmlinuz-${release}`]: vmlinuz, ...lists, ...objects, ...documents };
      await this.add(`linux-image-${release}`, version, image, 'kmod, linux-base (>= 4.3~)');
    }
    const headers = `usr/src/linux-headers-${release}`;
    await this.add(`linux-headers-${release}`, version, {
      [`${headers}/Module.symvers`]: '0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n',
      ...(config === null ? {} : { [`${headers}/.config`]: config }),
    });
    const common = `linux-headers-${release.replace(/-amd64$/, '')}-common`;
    await this.add(common, version, { [`usr/src/${common}/Makefile`]: '# made up\n' });
  }

  /** `linux-source-X` with the files of `tree`, and a changelog. */
  async addSource(version: string, tree: Tree, changelog = ''): Promise<void> {
    const name = `linux-source-${/^\d+\.\d+/.exec(version)?.[0]}`;
    const work = join(this.#directory, `source-${sha256(version).slice(0, 8)}`);
    for (const [path, content] of Object.entries(tree)) {
      await mkdir(dirname(join(work, name, path)), { recursive: true });
      await writeFile(join(work, name, path), content);
    }
    const tarball = join(work, 'source.tar.xz');
    await runOk(run, 'tar', ['-cJf', tarball, '-C', work, name]);
    await this.add(name, version, {
      [`usr/src/${name}.tar.xz`]: await readFile(tarball),
      [`usr/share/doc/${name}/changelog.Debian.gz`]: gzipSync(changelog),
    });
  }
}
