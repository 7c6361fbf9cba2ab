import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ElfFile, readElf, SHN_UNDEF, STB_LOCAL, STT_FILE, STT_SECTION, sectionOf } from '@kmend/elf';
import { KernelError } from './error.ts';
import type { Kernel, KernelSymbol } from './kernel.ts';

/** Modules of a kernel, from the `modules.order` that Kbuild wrote: name as `/proc/modules` spells it to the file. */
export async function moduleFiles(kernel: Kernel): Promise<ReadonlyMap<string, string>> {
  const order = await readFile(join(kernel.paths.modules, 'modules.order'), 'utf8');
  const files = new Map<string, string>();
  for (const line of order.split('\n')) {
    const base = /([^/]+)\.k?o$/.exec(line)?.[1];
    if (base === undefined) continue;
    files.set(base.replaceAll('-', '_'), join(kernel.paths.modules, line.replace(/\.o$/, '.ko')));
  }
  return files;
}

/** A module's file as the package ships it, unpacked where the suite compresses modules. */
export async function readModule(path: string): Promise<ElfFile> {
  const bytes = await readFile(path).catch(() => {
    throw new KernelError('module-unreadable', `the module ${path} is in modules.order but cannot be read`, {
      hint: 'add the kernel again',
    });
  });
  return readElf(bytes);
}

/**
 * Symbols of a module as kallsyms counts them for `sympos`: those in loaded sections, in the order of its symbol table
 * (kernel/module/kallsyms.c keeps that order; kernel/livepatch/core.c walks it). Addresses are offsets in their section; of the type
 * letter only the case means something: upper for global.
 */
export function moduleSymbols(module: ElfFile): KernelSymbol[] {
  return module.symbols
    .filter((symbol) => symbol.type !== STT_SECTION && symbol.type !== STT_FILE && symbol.name !== '')
    .filter((symbol) => symbol.place !== SHN_UNDEF && sectionOf(symbol) !== undefined)
    .map((symbol) => ({ name: symbol.name, address: symbol.value, type: symbol.bind === STB_LOCAL ? 't' : 'T' }));
}
