/** Whether a guest that answers no more hangs for a fault of the emulator. */
import type { Clock } from '@kmend/base';
import type { Kernel, KernelSymbol } from '@kmend/kernel';
import { readSymbols } from '@kmend/kernel';
import type { Host } from '@kmend/lab';

const LOOKS = 30;
const PAUSE_MS = 30;
/** What a processor runs for a breakpoint (arch/x86/kernel/traps.c, alternative.c, kprobes/core.c). */
const BREAKPOINT = /(?:^|_)int3(?:_|$)/;

/** For the kernel's command line: its code lies where its symbols say. */
export const NO_RANDOM_PLACE = 'nokaslr';

/** Names of the kernel's functions that each processor is in, look by look. `NO_RANDOM_PLACE` must be set. */
export async function watchProcessors(
  host: Host,
  kernel: Kernel,
  clock: Clock,
): Promise<readonly (readonly string[])[]> {
  const symbols = (await readSymbols(kernel)).all();
  const processors: string[][] = [];
  for (let look = 0; look < LOOKS; look++) {
    for (const [index, address] of (await host.processors()).entries()) {
      processors[index] ??= [];
      processors[index].push(nameOf(symbols, address));
    }
    await clock.sleep(PAUSE_MS);
  }
  return processors;
}

/**
 * Translated code is stale when it still has a breakpoint that the kernel has written over. QEMU before 8.1 can keep
 * such code where one processor translates it while another changes it (accel/tcg/translate-all.c does not lock the
 * page first). The kernel finds no breakpoint there, goes back to run the instruction (`kprobe_int3_handler`), and
 * comes again forever, with interrupts off. A real breakpoint takes less than a microsecond, and an unknown one is an
 * oops: no other fault of a kernel looks like this.
 */
export function runsStaleCode(processors: readonly (readonly string[])[]): boolean {
  return processors.some((names) => names.filter((name) => BREAKPOINT.test(name)).length * 3 >= names.length);
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
