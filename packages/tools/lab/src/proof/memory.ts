import { LabError } from '../error.ts';
import type { Host } from '../host.ts';
import { PATIENCE_MS } from './patience.ts';

/**
 * Nothing but the rounds should happen while they are measured; udev would start processes for every module that comes
 * or goes.
 */
const QUIET = 'systemctl stop systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udevd.service';

/** Makes a host as quiet as it can be. */
export async function quieten(host: Host): Promise<void> {
  await host.check(QUIET, { timeoutMs: PATIENCE_MS });
}

const END = 'end of reading';

/**
 * Empties what the kernel keeps for later, brings the counters of all processors together (vm.stat_refresh), and prints
 * what is in use. The sleep lets memory go that waits for an RCU grace period. Three times, and by a single process
 * each: pages of one that just ended wait on the processors' batches, where nothing counts them (mm/swap.c,
 * lru_add_drain).
 */
const MEASURE = `
for i in 1 2 3; do
  sleep 0.3; sync
  echo 3 >/proc/sys/vm/drop_caches && echo 1 >/proc/sys/vm/stat_refresh || exit 1
  cat /proc/meminfo /proc/zoneinfo; echo ${END}
done
`;

/**
 * Bytes that the kernel has in use for itself: everything that is not free, and neither page cache nor there because of
 * processes. So pages count that a leak took straight from the allocator, which neither Slab nor VmallocUsed shows.
 * MemAvailable and MemFree would not do: they leave out the pages on the processors' own free lists, which grew by 20
 * MB over 20 rounds of a sound livepatch. The lowest of three readings: what comes and goes by itself only ever adds to
 * one, a leak stays in all.
 */
export async function kernelMemory(host: Host): Promise<number> {
  const readings = (await host.check(MEASURE, { timeoutMs: PATIENCE_MS })).split(END).slice(0, -1);
  const bytes = Math.min(...readings.map(usedBytes));
  if (Number.isFinite(bytes)) return bytes;
  throw new LabError('lab-guest-garbage', `${host.name} does not report its memory use`);
}

/** Lines of /proc/meminfo that are not the kernel's own use. */
const OTHERS = ['Buffers', 'Cached', 'SwapCached', 'AnonPages', 'PageTables', 'KernelStack'] as const;
const PAGE = 4096;

/** The same of one reading; not a number where a line is missing. */
export function usedBytes(text: string): number {
  const values = new Map([...text.matchAll(/^(\w+): +(\d+) kB$/gm)].map(([, name, value]) => [name, Number(value)]));
  const of = (name: string): number => (values.get(name) ?? Number.NaN) * 1024;
  // Free in the zones (`pages free`), and on the processors' own lists (`count:`, one a processor and zone).
  const free = [...text.matchAll(/^ *(?:pages free|count:) +(\d+)$/gm)].map(([, pages]) => Number(pages));
  const freeBytes = free.length === 0 ? Number.NaN : free.reduce((sum, pages) => sum + pages, 0) * PAGE;
  return OTHERS.reduce((rest, name) => rest - of(name), of('MemTotal')) - freeBytes;
}
