import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorText, type Run } from '@kmend/base';
import { limitedRun, runOk } from '@kmend/base/node';
import { type ElfFile, readElf, SHN_UNDEF, STB_LOCAL, STT_FILE, STT_SECTION, sectionOf } from '@kmend/elf';
import { isDamage, KernelError } from './error.ts';
import type { KernelImage, KernelSymbol } from './kernel.ts';

/**
 * Modules of a kernel, from the `modules.order` that Kbuild wrote: name as `/proc/modules` spells it to the path of
 * the `.ko`; the file itself may be compressed, see `readModule`.
 */
export async function moduleFiles(kernel: KernelImage): Promise<ReadonlyMap<string, string>> {
  const order = await readFile(join(kernel.paths.modules, 'modules.order'), 'utf8').catch((error: unknown) => {
    throw new KernelError('kernel-record', `the kernel's list of modules cannot be read: ${errorText(error)}`, {
      hint: `remove the folder ${kernel.paths.directory} and add the kernel again`,
    });
  });
  const files = new Map<string, string>();
  for (const line of order.split('\n')) {
    const base = /^([\w-]+)\.k?o$/.exec(basename(line))?.[1];
    if (base === undefined || line.split('/').includes('..')) continue;
    files.set(base.replaceAll('-', '_'), join(kernel.paths.modules, line.replace(/\.o$/, '.ko')));
  }
  return files;
}

const UNPACKED_LIMIT = 256 << 20;

/** How suites compress modules (CONFIG_MODULE_COMPRESS_*): suffix of the file to the tool that unpacks it. */
const compressions: readonly (readonly [suffix: string, tool: string, ...args: string[]])[] = [
  ['.xz', 'xz', '-dc'],
  ['.zst', 'zstd', '-dcq'],
  ['.gz', 'gzip', '-dc'],
];

/** A module by the path that `moduleFiles` gives; unpacked where the suite compresses modules (Debian 13: `.ko.xz`). */
export async function readModule(path: string, runner: Run = limitedRun): Promise<ElfFile> {
  const plain = await readFile(path).catch(() => undefined);
  if (plain !== undefined) return readElf(plain);
  for (const [suffix, tool, ...args] of compressions) {
    const packed = await readFile(`${path}${suffix}`).catch(() => undefined);
    if (packed === undefined) continue;
    return readElf(
      await runOk(runner, tool, args, { stdin: packed, maxOutput: UNPACKED_LIMIT }).catch((error: unknown) => {
        if (!isDamage(error)) throw error;
        throw unreadable(`${path}${suffix}`, errorText(error));
      }),
    );
  }
  throw unreadable(path, 'it is in modules.order but not in its place');
}

function unreadable(path: string, why: string): KernelError {
  return new KernelError('module-unreadable', `the module ${path} cannot be read: ${why}`, {
    hint: 'remove the folder of the kernel and add it again',
  });
}

/**
 * Modules that must be there before a module: what modpost wrote into its `.modinfo` (scripts/mod/modpost.c,
 * add_depends), as `/proc/modules` spells them.
 */
export function moduleDepends(module: ElfFile): string[] {
  const words = module.sections.find(({ name }) => name === '.modinfo')?.data;
  const entries = Buffer.from(words ?? [])
    .toString('latin1')
    .split('\0');
  const depends = entries.find((entry) => entry.startsWith('depends='))?.slice('depends='.length) ?? '';
  return depends
    .split(',')
    .filter((name) => name !== '')
    .map((name) => name.replaceAll('-', '_'));
}

/**
 * Symbols of a module as kallsyms counts them for `sympos`: those in loaded sections, in the order of its symbol table
 * (kernel/module/kallsyms.c keeps that order; kernel/livepatch/core.c walks it). Addresses are offsets in their
 * section. The type letter is upper case for global; `i` for what is there only while the module starts, `t` for the
 * rest.
 */
export function moduleSymbols(module: ElfFile): KernelSymbol[] {
  return module.symbols
    .filter((symbol) => symbol.type !== STT_SECTION && symbol.type !== STT_FILE && symbol.name !== '')
    .filter((symbol) => symbol.place !== SHN_UNDEF && sectionOf(symbol) !== undefined)
    .map((symbol) => {
      const type = sectionOf(symbol)?.name.startsWith('.init') ? 'i' : 't';
      return { name: symbol.name, address: symbol.value, type: symbol.bind === STB_LOCAL ? type : type.toUpperCase() };
    });
}
