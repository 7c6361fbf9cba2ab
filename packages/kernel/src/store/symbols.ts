import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '@kmend/base';
import { KernelError } from '../error.ts';
import type { Kernel, KernelSymbol } from '../kernel.ts';

/** Decoded symbols as a text file, one `type address name` a line: read back in a fraction of the time of decoding. */
export function symbolsText(symbols: readonly KernelSymbol[]): string {
  return symbols.map(({ type, address, name }) => `${type} ${address.toString(16)} ${name}\n`).join('');
}

export function symbolsPath(directory: string): string {
  return join(directory, 'kallsyms');
}

/** Symbols of a kernel's vmlinux in kallsyms order. */
export async function readSymbols(kernel: Kernel): Promise<KernelSymbol[]> {
  const path = symbolsPath(kernel.paths.directory);
  const unreadable = (why: string): KernelError =>
    new KernelError('kernel-record', `${path} cannot be read: ${why}`, {
      hint: `remove the folder ${kernel.paths.directory} and add the kernel again`,
    });
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    throw unreadable(errorText(error));
  });
  if (!text.endsWith('\n')) throw unreadable('it is cut off');
  const symbols: KernelSymbol[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const space = line.indexOf(' ', 2);
    const address = line.slice(2, space);
    if (!/^[0-9a-f]{1,16}$/.test(address)) throw unreadable(`it has the line ${JSON.stringify(line.slice(0, 80))}`);
    symbols.push({ type: line.slice(0, 1), address: BigInt(`0x${address}`), name: line.slice(space + 1) });
  }
  return symbols;
}
