import type { Host } from '../host.ts';
import { PATIENCE_MS } from './patience.ts';

/** Nothing but the rounds should happen while they are measured; udev would start processes for every module that comes or goes. */
const QUIET = 'systemctl stop systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udevd.service';

/** Makes a host as quiet as it can be. */
export async function quieten(host: Host): Promise<void> {
  await host.check(QUIET, { timeoutMs: PATIENCE_MS });
}

/**
 * Empties what the kernel keeps for later, brings the counters of all processors together (vm.stat_refresh), and prints what is in use. The
 * sleep lets memory go that waits for an RCU grace period.
 */
const MEASURE = `
sleep 0.3; sync
echo 3 >/proc/sys/vm/drop_caches && echo 1 >/proc/sys/vm/stat_refresh || exit 1
grep -E '^(MemTotal|Buffers|Cached|SwapCached|AnonPages|PageTables|KernelStack):' /proc/meminfo
awk '/pages free/ { free += $3 } $1 == "count:" { free += $2 } END { print "Free: " free * 4 " kB" }' /proc/zoneinfo
`;

/**
 * Bytes that the kernel has in use for itself: everything that is not free, and neither page cache nor there because of processes. So pages count that a
 * leak took straight from the allocator, which neither Slab nor VmallocUsed shows. MemAvailable and MemFree would not do: they leave out the pages
 * on the processors' own free lists, which grew by 20 MB over 20 rounds of a sound livepatch.
 */
export async function kernelMemory(host: Host): Promise<number> {
  return usedBytes(await host.check(MEASURE, { timeoutMs: PATIENCE_MS }));
}

/** The same of what `MEASURE` printed. */
export function usedBytes(text: string): number {
  const values = new Map([...text.matchAll(/^(\w+):\s+(\d+) kB$/gm)].map(([, name, value]) => [name, Number(value)]));
  const of = (name: string): number => values.get(name) ?? Number.NaN;
  const others = ['Free', 'Buffers', 'Cached', 'SwapCached', 'AnonPages', 'PageTables', 'KernelStack'];
  return others.reduce((rest, name) => rest - of(name), of('MemTotal')) * 1024;
}
