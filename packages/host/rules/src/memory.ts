const MIB = 1024 * 1024;

/** Bytes of memory for one load. */
export const memoryRule = {
  /**
   * The kernel holds the file as read, the module's final sections with its whole symbol table, and its init sections
   * at the same time (kernel/module/main.c: kernel_read_file, move_module; kernel/module/livepatch.c), beside the copy
   * in `/run` that insmod reads.
   */
  copies: 4,
  /**
   * A trampoline page of its own for each patched function (arch/x86/kernel/ftrace.c, create_trampoline), with what
   * describes it.
   */
  bytesPerFunction: 8192,
  /** What must be left for everyone else, so that no load makes the kernel look for a task to kill. */
  floor: 32 * MIB,
} as const;

export interface MemoryNeed {
  /** Bytes. */
  readonly moduleSize: number;
  readonly functions: number;
}

/** Bytes that should be available (MemAvailable) before a load. */
export function neededMemory({ moduleSize, functions }: MemoryNeed): number {
  const { copies, bytesPerFunction, floor } = memoryRule;
  return copies * moduleSize + bytesPerFunction * functions + floor;
}
