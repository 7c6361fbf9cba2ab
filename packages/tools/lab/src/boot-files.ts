import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorText } from '@kmend/base';
import { bashArguments, exists, runOk } from '@kmend/base/node';
import type { Kernel } from '@kmend/kernel';
import { toolEnvironment } from '@kmend/toolchain';
import type { LabEdges } from './edges.ts';
import { LabError } from './error.ts';
import { withLock } from './lock.ts';
import { MODULES_SERIAL, ROOT_SERIAL } from './qemu.ts';

/** What a kernel needs besides itself to boot in the lab. */
export interface BootFiles {
  /** gzipped cpio archive. */
  readonly initramfs: string;
  /** ext4 image of `lib/modules/<release>`, with the indexes of depmod. */
  readonly modulesImage: string;
}

/** The part of a kernel of the store that the lab uses. */
export type LabKernel = Pick<Kernel, 'release' | 'buildId' | 'suite'> & {
  readonly paths: Pick<Kernel['paths'], 'directory' | 'vmlinuz' | 'modules'>;
};

/** Modules on the way to the root; Debian builds all of them as modules. */
const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console', 'ext4'];

const INIT = `#!/bin/busybox sh
# Made by kmend's lab. Loads the way to the disks, sets up the network, hands over.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
for disk in /sys/block/vd*; do
  case "$($b cat "$disk/serial")" in
    ${ROOT_SERIAL}) root=/dev/\${disk##*/} ;;
    ${MODULES_SERIAL}) modules=/dev/\${disk##*/} ;;
  esac
done
release=$($b uname -r)
$b mount -t ext4 -o noatime "$root" /root
$b mkdir -p "/root/usr/lib/modules/$release"
$b mount -t ext4 -o ro "$modules" "/root/usr/lib/modules/$release"
$b ip link set eth0 up
$b ip addr add 10.0.2.15/24 dev eth0
$b ip route add default via 10.0.2.2
$b umount /proc /sys
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
`;

/** Part of every key: changes when this file makes something else of the same kernel. */
const RECIPE = createHash('sha256').update(INIT).update(BOOT_MODULES.join()).digest('hex').slice(0, 8);

/** Makes a kernel's boot files once; later calls find them. */
export async function prepareBootFiles(edges: LabEdges, kernel: LabKernel): Promise<BootFiles> {
  const directory = join(edges.cache, 'kernels', `${kernel.release}-${kernel.buildId.slice(0, 16)}-${RECIPE}`);
  const files: BootFiles = {
    initramfs: join(directory, 'initramfs.gz'),
    modulesImage: join(directory, 'modules.ext4'),
  };
  if (!(await exists(kernel.paths.vmlinuz))) {
    throw new LabError('lab-kernel-unsuitable', `${kernel.release} was added without its vmlinuz`, {
      hint: 'the lab boots vmlinuz: add the kernel again with it',
    });
  }
  if (await isDirectory(directory)) return files;
  await withLock(`${directory}.lock`, edges.signal, async () => {
    if (await isDirectory(directory)) return;
    edges.progress.step(`lab: prepare ${kernel.release}`);
    const work = `${directory}.tmp`;
    await rm(work, { recursive: true, force: true });
    await mkdir(join(work, 'files'), { recursive: true });
    try {
      await make(edges, kernel, work);
      await rename(join(work, 'files'), directory);
    } catch (error) {
      if (edges.signal.aborted) throw error;
      throw new LabError(
        'lab-kernel-unsuitable',
        `${kernel.release} cannot be booted in the lab: ${errorText(error)}`,
        {
          cause: error,
          hint: 'the lab boots Debian kernels, whose virtio and ext4 drivers are modules',
        },
      );
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
  return files;
}

async function make(edges: LabEdges, kernel: LabKernel, work: string): Promise<void> {
  const { run, signal } = edges;
  // A copy (hard links where the file system allows), because the indexes come into the same tree and the store's is
  // not ours.
  const base = join(work, 'base');
  const tree = join(base, 'lib', 'modules', kernel.release);
  await mkdir(dirname(tree), { recursive: true });
  const linked = await run('cp', ['-al', kernel.paths.modules, tree], { signal });
  if (linked.exitCode !== 0) {
    await rm(tree, { recursive: true, force: true });
    await runOk(run, 'cp', ['-a', kernel.paths.modules, tree], { signal });
  }
  await rm(join(tree, 'build'), { force: true });
  await rm(join(tree, 'source'), { force: true });
  await runOk(run, 'depmod', ['-b', base, kernel.release], { signal, env: toolEnvironment() });

  const stage = join(work, 'initramfs');
  for (const name of ['bin', 'dev', 'modules', 'proc', 'root', 'sys'])
    await mkdir(join(stage, name), { recursive: true });
  await copyFile('/bin/busybox', join(stage, 'bin', 'busybox'));
  await chmod(join(stage, 'bin', 'busybox'), 0o755);
  await writeFile(join(stage, 'init'), INIT, { mode: 0o755 });
  const paths = await bootModules(edges, base, kernel.release);
  for (const [index, path] of paths.entries()) {
    const target = join(stage, 'modules', `${String(index).padStart(3, '0')}-${basename(path)}`);
    await copyFile(path, target);
    await decompress(edges, target);
  }
  const archive = join(work, 'files', 'initramfs.gz');
  const pack =
    'set -o pipefail; cd "$1"; find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet | gzip -1 >"$2"';
  await runOk(run, 'bash', bashArguments(pack, stage, archive), { signal });

  const image = join(work, 'files', 'modules.ext4');
  const blocks = await treeBlocks(tree);
  const options = ['-q', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-b', '4096', '-E', 'root_owner=0:0'];
  // Space for inodes and directories beside the files.
  const size = Math.ceil(blocks.blocks * 1.02) + 4096;
  await runOk(run, 'mke2fs', [...options, '-N', String(blocks.files + 1024), '-d', tree, image, String(size)], {
    signal,
    env: toolEnvironment(),
  });
  await runOk(run, 'sync', [archive, image], { signal });
}

/** The files of the boot modules in the order of loading (modprobe --show-depends), each once. */
async function bootModules(edges: LabEdges, base: string, release: string): Promise<string[]> {
  const paths = new Set<string>();
  for (const name of BOOT_MODULES) {
    const args = ['-d', base, '-S', release, '--show-depends', name];
    const output = await runOk(edges.run, 'modprobe', args, { signal: edges.signal, env: toolEnvironment() });
    for (const path of insmodPaths(output.toString('utf8'))) paths.add(path);
  }
  return [...paths];
}

/** The paths of lines such as `insmod /a/b/virtio.ko `; a module that is built in has a line `builtin name` instead. */
export function insmodPaths(text: string): string[] {
  return text.split('\n').flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []);
}

/** busybox inserts plain modules only; Debian 13 and later ship them compressed. */
async function decompress(edges: LabEdges, path: string): Promise<void> {
  const signal = edges.signal;
  if (path.endsWith('.xz')) await runOk(edges.run, 'xz', ['--decompress', path], { signal });
  if (path.endsWith('.zst')) await runOk(edges.run, 'zstd', ['--decompress', '--quiet', '--rm', path], { signal });
}

/** Files below a directory and the 4 KiB blocks they fill. */
async function treeBlocks(directory: string): Promise<{ files: number; blocks: number }> {
  let files = 0;
  let blocks = 0;
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    files++;
    blocks += entry.isFile() ? Math.ceil((await stat(join(entry.parentPath, entry.name))).size / 4096) : 1;
  }
  return { files, blocks };
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
