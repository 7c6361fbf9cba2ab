import { type MemoryNeed, neededMemory } from '@kmend/rules';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

const MIB = 1024 * 1024;

/**
 * MemAvailable in bytes: what can be had without swapping (fs/proc/meminfo.c). Modules live in vmalloc space, which on
 * x86-64 is never the shorter of the two, and no cgroup's limit counts for them. `undefined` where the kernel does not
 * say.
 */
export async function availableMemory(edges: Edges): Promise<number | undefined> {
  const text = (await edges.files.text('/proc/meminfo')) ?? '';
  const kilobytes = /^MemAvailable:\s+(\d{1,15}) kB$/m.exec(text)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** Throws `memory-low`, with figures. Where the kernel does not say what it has, its own refusal has to do. */
export async function assertMemory(edges: Edges, need: MemoryNeed): Promise<void> {
  const available = await availableMemory(edges);
  const needed = neededMemory(need);
  if (available === undefined || available >= needed) return;
  throw new AgentError(
    'memory-low',
    `${tenths(available, Math.floor)} MiB of memory are available, ${tenths(needed, Math.ceil)} MiB are needed`,
    {
      details: { available, needed, moduleSize: need.moduleSize, functions: need.functions },
      hint: 'free some memory (MemAvailable in /proc/meminfo); the agent retries at its next check',
    },
  );
}

/** MiB with one digit, rounded so that too little never reads as enough. */
function tenths(bytes: number, round: (value: number) => number): string {
  return (round((bytes * 10) / MIB) / 10).toFixed(1);
}
