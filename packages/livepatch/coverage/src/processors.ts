/** Where the processors of a guest are that answers no more, by the names of the kernel's functions. */
import type { Clock } from '@kmend/base';
import type { Kernel, KernelSymbol } from '@kmend/kernel';
import { readSymbols } from '@kmend/kernel';
import { type Host, lookAtProcessors } from '@kmend/lab';

/** For the kernel's command line: its code lies where its symbols say. */
export const NO_RANDOM_PLACE = 'nokaslr';

/** Names of the kernel's functions that each processor is in, look by look. `NO_RANDOM_PLACE` must be set. */
export async function watchProcessors(
  host: Host,
  kernel: Kernel,
  clock: Clock,
): Promise<readonly (readonly string[])[]> {
  const symbols = (await readSymbols(kernel)).all();
  const processors = await lookAtProcessors(host, clock);
  return processors.map((addresses) => addresses.map((address) => nameOf(symbols, address)));
}

/** `text_poke_bp_batch 27, do_sync_core 3`: a processor a line. */
export function placesText(processors: readonly (readonly string[])[]): string {
  const lines = processors.map((names, index) => {
    const counts = new Map<string, number>();
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    const sorted = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${name} ${count}`);
    return `processor ${index}: ${sorted.join(', ')}`;
  });
  return lines.join('\n');
}

function nameOf(symbols: readonly KernelSymbol[], address: bigint): string {
  if (address < 1n << 63n) return 'user space';
  let found: KernelSymbol | undefined;
  for (const symbol of symbols) {
    if (symbol.address <= address && symbol.address > (found?.address ?? 0n)) found = symbol;
  }
  const isText = found?.type.toLowerCase() === 't';
  return isText ? (found?.name ?? '') : 'a module';
}
