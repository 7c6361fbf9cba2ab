import { copyFile, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Edges } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { buildId, readElf } from '@kmend/elf';
import { structLayouts } from '../btf.ts';
import { parseConfig } from '../config.ts';
import { isDamage, KernelError } from '../error.ts';
import { extractVmlinux } from '../image/vmlinux.ts';
import type { Kernel } from '../kernel.ts';
import { moduleFiles, readModule } from '../modules.ts';
import { fitCompiler } from '../store/fitness.ts';
import { unpackPackage } from '../store/package.ts';
import { pathsIn, recordPath, recordText } from '../store/record.ts';
import { type KeptVmlinux, keepVmlinux } from '../store/vmlinux.ts';
import { parseSymvers } from '../symvers.ts';
import { embeddedConfig, readFacts, type VmlinuxFacts } from './memory-facts.ts';
import { moduleFacts } from './module-facts.ts';
import { findParts, type LocalParts } from './parts.ts';
import { copyModules, packSource, readMakefile, readWhole } from './source.ts';
import {
  checkConfig,
  checkEmbedded,
  checkModule,
  checkSource,
  checkSymvers,
  checkSystemMap,
  partsDiffer,
} from './together.ts';

/** What an operator hands over of a kernel of her own. */
export interface LocalSpec {
  /** Folders and `.deb` files that together hold image, modules, config and Module.symvers. */
  readonly from: readonly string[];
  /** The source tree that it was built from, built in or not. */
  readonly source: string;
  /** Folder of the system that has its compiler; absent: this machine's. */
  readonly buildRoot?: string | undefined;
}

/** What the store has others do. The kernel's folder is not in the store yet. */
export interface LocalWork {
  /** Throws where its compiler is not there. */
  findCompiler(kernel: Kernel): Promise<void>;
  /** Throws where source, configuration and compiler do not make the kernel. */
  prove(kernel: Kernel): Promise<void>;
}

const TEXT_LIMIT = 64 << 20;
const IMAGE_LIMIT = 256 << 20;
/** A kernel has up to 4,500, and unpacking one of Debian 13's takes xz longer than checking it. */
const MODULES_AT_ONCE = 4;
/** A vmlinux with all of its debug information. */
const DEBUG_LIMIT = 2 ** 31 - 1;

/**
 * Lays out a kernel of one's own in a folder, as `unpackKernel` does for Debian's: its parts checked against each
 * other, then proven, the record last. Throws `kernel-incomplete`, `kernel-parts-differ`, `kernel-without-livepatch`,
 * `kernel-architecture`, `kernel-compiler`, `image-unsupported`, `kallsyms-not-found`, `btf-missing`, and what `work`
 * throws. `known`: the same build, if the store has it; then that is the result, and the folder is of no use.
 */
export async function layOutLocal(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  spec: LocalSpec,
  work: LocalWork,
  directory: string,
  known: (build: Pick<Kernel, 'release' | 'buildId'>) => Kernel | undefined,
): Promise<Kernel> {
  const { progress, signal, run } = edges;
  const scratch = join(directory, 'scratch');
  const parts = await gather(edges, spec.from, scratch);
  const source = resolve(spec.source);
  const makefile = await readMakefile(source);
  const configText = (await readWhole(parts.config, TEXT_LIMIT)).toString('utf8');
  // Before the large parts: what makes a kernel unfit whatever else it is.
  const compiler = fitCompiler(parseConfig(configText), 'the kernel');
  progress.step('decode the symbols');
  const { kept, facts } = await layOutImage(edges, parts, directory);
  const { release } = facts;
  const same = known({ release, buildId: kept.buildId });
  if (same !== undefined) return same;
  const version = checkSource(makefile, facts, configText);
  checkConfig(facts, configText, kept.symbols);
  // Sizes of the kernel's tables come from nowhere else.
  structLayouts(kept.elf, []);
  const paths = pathsIn(directory, release);
  await mkdir(join(directory, 'headers'), { recursive: true });
  await writeFile(paths.config, configText);
  await copyFile(parts.moduleSymvers, paths.moduleSymvers);
  if (parts.systemMap !== undefined)
    checkSystemMap((await readWhole(parts.systemMap, TEXT_LIMIT)).toString('latin1'), kept.symbols);
  progress.step('check the modules');
  await copyModules(parts.modules, paths.modules);
  const kernel: Kernel = {
    release,
    buildId: kept.buildId,
    version,
    suite: 'local',
    arch: 'x86_64',
    compiler,
    local: spec.buildRoot === undefined ? {} : { buildRoot: resolve(spec.buildRoot) },
    paths,
  };
  await work.findCompiler(kernel);
  await checkModules(edges, kernel, facts, configText);
  await rm(scratch, { recursive: true, force: true });
  progress.step('pack the source');
  await packSource(edges, source, paths.sourceTarball);
  await work.prove(kernel);
  // All of it is on the disk before the record says so.
  await runOk(run, 'sync', ['--file-system', directory], { signal });
  await writeFile(recordPath(directory), recordText(kernel));
  return kernel;
}

/** Unpacks packages, and finds the parts in their folders and in those that were named. */
async function gather(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  from: readonly string[],
  scratch: string,
): Promise<LocalParts> {
  const folders: string[] = [];
  for (const path of from.map((one) => resolve(one))) {
    const kind = await stat(path).catch(() => undefined);
    if (kind?.isDirectory() === true) folders.push(path);
    else if (kind?.isFile() === true && path.endsWith('.deb')) {
      edges.progress.step(`unpack ${path}`);
      // All into one: together they are one installed system.
      await unpackPackage(edges, path, join(scratch, 'packages'));
      if (!folders.includes(join(scratch, 'packages'))) folders.push(join(scratch, 'packages'));
    } else {
      throw new KernelError('kernel-incomplete', `${path} is neither a folder nor a .deb package`, {
        hint: 'name a folder with vmlinuz, modules, config and Module.symvers, or the packages of make bindeb-pkg',
      });
    }
  }
  return await findParts(folders);
}

/** vmlinuz as it is, and the vmlinux that is in it; without one, the vmlinux without its debug information. */
async function layOutImage(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  parts: LocalParts,
  directory: string,
): Promise<{ readonly kept: KeptVmlinux; readonly facts: VmlinuxFacts }> {
  const given = parts.vmlinux === undefined ? undefined : await stripped({ run, signal }, parts.vmlinux, directory);
  const image = parts.vmlinuz === undefined ? undefined : await readWhole(parts.vmlinuz, IMAGE_LIMIT);
  const bytes = image === undefined ? given : await extractVmlinux(run, image, signal);
  if (bytes === undefined)
    throw new KernelError('kernel-incomplete', 'the kernel has neither vmlinuz nor vmlinux', {
      hint: 'hand over the folder or the package that holds one of them',
    });
  const kept = await keepVmlinux(bytes, 'the kernel', directory);
  const facts = readFacts(kept.elf, kept.symbols);
  if (image !== undefined && given !== undefined) {
    const other = buildId(readElf(given));
    if (other !== kept.buildId)
      throw partsDiffer('vmlinux', 'vmlinuz', `their build ids are ${other ?? 'none'} and ${kept.buildId}`);
  }
  if (image !== undefined) {
    const { vmlinuz } = pathsIn(directory, facts.release);
    await mkdir(join(directory, 'image', 'boot'), { recursive: true });
    await writeFile(vmlinuz, image);
  }
  return { kept, facts };
}

/** As Kbuild strips what goes into a bzImage (arch/x86/boot/compressed/Makefile, `OBJCOPYFLAGS_vmlinux.bin`). */
async function stripped(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  vmlinux: string,
  directory: string,
): Promise<Uint8Array> {
  const { size } = await stat(vmlinux);
  if (size > DEBUG_LIMIT)
    throw new KernelError('image-unsupported', `${vmlinux} has ${size} bytes: no kernel is that large`, {
      hint: 'remove its debug information (objcopy --strip-debug), or hand over vmlinuz instead',
    });
  const path = join(directory, 'stripped');
  try {
    await runOk(run, 'objcopy', ['-R', '.comment', '-S', vmlinux, path], { signal }).catch((error: unknown) => {
      if (!isDamage(error)) throw error;
      throw new KernelError('image-unsupported', `${vmlinux} is not an ELF file that objcopy can read`, {
        cause: error,
      });
    });
    return await readWhole(path, IMAGE_LIMIT);
  } finally {
    await rm(path, { force: true });
  }
}

async function checkModules(
  { run, signal, progress }: Pick<Edges, 'run' | 'signal' | 'progress'>,
  kernel: Kernel,
  facts: VmlinuxFacts,
  configText: string,
): Promise<void> {
  const text = (await readWhole(kernel.paths.moduleSymvers, TEXT_LIMIT)).toString('utf8');
  if (facts.exports === undefined)
    progress.step(
      'the tables of exports are in an unknown layout: Module.symvers is checked against the modules alone',
    );
  checkSymvers(facts, text);
  const symvers = parseSymvers(text);
  const check = async ([name, path]: readonly [name: string, path: string]): Promise<void> => {
    const module = await readModule(path, run);
    checkModule(name, moduleFacts(module), facts, symvers);
    const carried = name === 'configs' ? embeddedConfig(module) : undefined;
    if (carried !== undefined) checkEmbedded('the module configs', carried, configText);
  };
  const modules = [...(await moduleFiles(kernel))];
  for (let at = 0; at < modules.length; at += MODULES_AT_ONCE) {
    signal.throwIfAborted();
    await Promise.all(modules.slice(at, at + MODULES_AT_ONCE).map(check));
  }
}
