import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '@kmend/base';
import { KernelError } from '../error.ts';
import type { KernelImage, KernelSymbol } from '../kernel.ts';
import { SymbolTable } from './symbol-table.ts';

/** Decoded symbols as a text file, one `type address name` a line: read back in a fraction of the time of decoding. */
export function symbolsText(symbols: readonly KernelSymbol[]): string {
  return symbols.map(({ type, address, name }) => `${type} ${address.toString(16)} ${name}\n`).join('');
}

export function symbolsPath(directory: string): string {
  return join(directory, 'kallsyms');
}

/** Symbols of a kernel's vmlinux. */
export async function readSymbols(kernel: {
  readonly paths: Pick<KernelImage['paths'], 'directory'>;
}): Promise<SymbolTable> {
  const path = symbolsPath(kernel.paths.directory);
  const unreadable = (why: string): KernelError =>
    new KernelError('kernel-record', `${path} cannot be read: ${why}`, {
      hint: `remove the folder ${kernel.paths.directory} and add the kernel again`,
    });
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    throw unreadable(errorText(error));
  });
  if (!text.endsWith('\n')) throw unreadable('it is cut off');
  return new SymbolTable(text, (line) => unreadable(`it has the line ${JSON.stringify(line.slice(0, 80))}`));
}
