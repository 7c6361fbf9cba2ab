import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildId, type ElfFile, readElf } from '@kmend/elf';
import { KernelError } from '../error.ts';
import { decodeKallsyms } from '../image/kallsyms.ts';
import type { KernelSymbol } from '../kernel.ts';
import { symbolsPath, symbolsText } from './symbols.ts';

/** A vmlinux as the store keeps it. */
export interface KeptVmlinux {
  /** 40 lower-case hex digits. */
  readonly buildId: string;
  readonly elf: ElfFile;
  /** In kallsyms order. */
  readonly symbols: readonly KernelSymbol[];
}

/**
 * Writes a vmlinux and its decoded symbols into a kernel's folder. `image-unsupported` without a build id,
 * `kallsyms-not-found` without symbols.
 */
export async function keepVmlinux(bytes: Uint8Array, release: string, directory: string): Promise<KeptVmlinux> {
  const elf = readElf(bytes);
  const symbols = decodeKallsyms(bytes);
  const id = buildId(elf);
  if (id === undefined || !/^[0-9a-f]{40}$/.test(id))
    throw new KernelError('image-unsupported', `the image of ${release} has no GNU build id of 20 bytes`);
  await writeFile(join(directory, 'vmlinux'), bytes);
  await writeFile(symbolsPath(directory), symbolsText(symbols), 'latin1');
  return { buildId: id, elf, symbols };
}
