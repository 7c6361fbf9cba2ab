import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Progress, Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { buildId, readElf } from '@kmend/elf';
import { parseConfig } from '../config.ts';
import { KernelError } from '../error.ts';
import { decodeKallsyms } from '../image/kallsyms.ts';
import { extractVmlinux } from '../image/vmlinux.ts';
import type { Kernel } from '../kernel.ts';
import { recordPath, recordText } from './record.ts';
import { symbolsPath, symbolsText } from './symbols.ts';

/** The packages of one kernel, as verified `.deb` files. */
export interface KernelPackages {
  readonly image: string;
  readonly headers: string;
  readonly commonHeaders: string;
  readonly source: string;
}

export interface UnpackEdges {
  readonly run: Run;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Lays out a kernel's folder: packages unpacked, vmlinux extracted, symbols decoded, the record last. */
export async function unpackKernel(
  edges: UnpackEdges,
  packages: KernelPackages,
  about: Pick<Kernel, 'release' | 'version' | 'suite' | 'sourcePackage'>,
  directory: string,
): Promise<void> {
  const { run, progress, signal } = edges;
  const unpack = async (deb: string, into: string): Promise<void> => {
    await runOk(run, 'dpkg-deb', ['-x', deb, join(directory, into)], { signal });
  };
  progress.step(`unpack the headers of ${about.release}`);
  await unpack(packages.headers, 'headers');
  const headers = join(directory, 'headers', 'usr', 'src', `linux-headers-${about.release}`);
  const config = parseConfig(await readFile(join(headers, '.config'), 'utf8'));
  // Before the large packages: most unfit kernels (cloud and third-party ones) are told apart here.
  if (config.get('CONFIG_LIVEPATCH') !== 'y') {
    throw new KernelError('kernel-without-livepatch', `${about.release} was built without CONFIG_LIVEPATCH`, {
      hint: 'livepatches cannot be loaded into this kernel; its hosts need another one',
    });
  }
  const compiler = config.get('CONFIG_CC_VERSION_TEXT') ?? '';
  const command = compiler.split(' ')[0] ?? '';
  if (!/^(?:x86_64-linux-gnu-)?gcc(?:-\d+)?$/.test(command)) {
    throw new KernelError(
      'kernel-compiler',
      `${about.release} was built with "${compiler}", not with a gcc that kmend knows`,
    );
  }
  await unpack(packages.commonHeaders, 'headers');
  progress.step(`unpack the image of ${about.release}`);
  await unpack(packages.image, 'image');
  progress.step(`unpack the source ${about.version}`);
  await unpack(packages.source, 'source');
  progress.step(`decode the symbols of ${about.release}`);
  const image = await readFile(join(directory, 'image', 'boot', `vmlinuz-${about.release}`));
  const vmlinux = await extractVmlinux(run, image, signal);
  await writeFile(join(directory, 'vmlinux'), vmlinux);
  await writeFile(symbolsPath(directory), symbolsText(decodeKallsyms(vmlinux)), 'latin1');
  const id = buildId(readElf(vmlinux));
  if (id === undefined) throw new KernelError('image-unsupported', `the image of ${about.release} has no GNU build id`);
  await rm(join(directory, 'image', 'usr'), { recursive: true, force: true });
  const record = recordText({ ...about, buildId: id, arch: 'x86_64', compiler: { text: compiler, command } });
  await writeFile(recordPath(directory), record);
}
