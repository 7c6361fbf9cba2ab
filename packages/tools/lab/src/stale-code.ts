/** Whether a guest that answers no more hangs for a fault of the emulator. */
import type { Clock } from '@kmend/base';
import type { Host } from './host.ts';

const LOOKS = 30;
const PAUSE_MS = 30;
/** What a processor runs for a breakpoint (arch/x86/kernel/traps.c, alternative.c, kprobes/core.c). */
const BREAKPOINT = /(?:^|_)int3(?:_|$)/;

/** Code of the kernel, `[start, end)`. */
export type CodeRange = readonly [start: bigint, end: bigint];

/** Where each processor is, look by look. */
export async function lookAtProcessors(
  host: Pick<Host, 'processors'>,
  clock: Pick<Clock, 'sleep'>,
): Promise<readonly (readonly bigint[])[]> {
  const processors: bigint[][] = [];
  for (let look = 0; look < LOOKS; look++) {
    for (const [index, address] of (await host.processors()).entries()) {
      processors[index] ??= [];
      processors[index].push(address);
    }
    await clock.sleep(PAUSE_MS);
  }
  return processors;
}

export function isBreakpointHandler(name: string): boolean {
  return BREAKPOINT.test(name);
}

/**
 * Translated code is stale when it still has a breakpoint that the kernel has written over. QEMU before 8.1 can keep
 * such code where one processor translates it while another changes it (accel/tcg/translate-all.c does not lock the
 * page first). The kernel finds no breakpoint there, goes back to run the instruction (`kprobe_int3_handler`), and
 * comes again forever, with interrupts off. A real breakpoint takes less than a microsecond, and an unknown one is an
 * oops: no other fault of a kernel looks like this. `processors`: what each was in, look by look.
 */
export function runsStaleCode<T>(
  processors: readonly (readonly T[])[],
  handlesBreakpoint: (place: T) => boolean,
): boolean {
  return processors.some((places) => places.filter(handlesBreakpoint).length * 3 >= places.length);
}

/** Prints each symbol of the kernel itself whose name has `int3` in it, with its address and that of the next one. */
const HANDLERS = `awk 'NF > 3 { exit } held { print held, $1; held = "" } /int3/ { held = $3 " " $1 }' /proc/kallsyms`;

/** Where a running kernel handles breakpoints, wherever it lies in memory. */
export async function breakpointHandlers(host: Pick<Host, 'check'>): Promise<readonly CodeRange[]> {
  const lines = (await host.check(HANDLERS)).split('\n');
  return lines.flatMap((line): CodeRange[] => {
    const [name = '', start = '', end = ''] = line.split(' ');
    return isBreakpointHandler(name) && end !== '' ? [[BigInt(`0x${start}`), BigInt(`0x${end}`)]] : [];
  });
}
