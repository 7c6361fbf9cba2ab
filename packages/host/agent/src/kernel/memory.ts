import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

const MIB = 1024 * 1024;
/**
 * The kernel holds the file as read, the module's final sections with its whole symbol table, and its init sections at the same time
 * (kernel/module/main.c: kernel_read_file, move_module; kernel/module/livepatch.c), beside the copy in `/run` that insmod reads.
 */
const COPIES = 4;
/** A trampoline page of its own for each patched function (arch/x86/kernel/ftrace.c, create_trampoline), with what describes it. */
const BYTES_PER_FUNCTION = 8192;
/** What must be left for everyone else, so that no load makes the kernel look for a task to kill. */
const FLOOR = 32 * MIB;

export interface MemoryNeed {
  /** Bytes. */
  readonly moduleSize: number;
  readonly functions: number;
}

/** Bytes that should be available before a load. */
export function neededMemory({ moduleSize, functions }: MemoryNeed): number {
  return COPIES * moduleSize + BYTES_PER_FUNCTION * functions + FLOOR;
}

/**
 * MemAvailable in bytes: what can be had without swapping (fs/proc/meminfo.c). Modules live in vmalloc space, which on x86-64 is never the
 * shorter of the two, and no cgroup's limit counts for them. `undefined` where the kernel does not say.
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
