/**
 * What a taint flag means for a load.
 * - `refuses`: memory, code or a CPU of this kernel may be in an unknown state
 * - `warns`: worth a look (`doctor` tells), no reason to leave the host unpatched
 * - `harmless`: says what runs here, not that something went wrong
 */
export type TaintWeight = 'refuses' | 'warns' | 'harmless';

export interface TaintFlag {
  /** Bit in `/proc/sys/kernel/tainted`. */
  readonly bit: number;
  /** Letter in the kernel log; `?` for a bit that is not in the table. */
  readonly letter: string;
  readonly meaning: string;
  readonly weight: TaintWeight;
}

/**
 * The flags of kernel/panic.c (taint_flags), explained in Documentation/admin-guide/tainted-kernels.rst. Why some
 * refuse:
 * - D: an oops kills its task with its locks held and its data half-changed; a transition may never end, and what the
 *   kernel holds is in doubt
 * - B: set for bad page state and for slab corruption alike (mm/page_alloc.c, mm/slub.c): memory was overwritten
 * - M: set by machine check exceptions, not by corrected errors (arch/x86/kernel/cpu/mce/core.c): the hardware fails
 * - F, R: modules loaded or unloaded by force may have left wrong types or pointers to freed code behind
 * - L: the flag does not say whether the CPU is still stuck, and a load waits for every CPU (RCU, text poking) without
 *   an end A (ACPI table overridden) is the owner's own choice at boot and says nothing of the kernel's memory, so it
 *   does not refuse.
 */
export const taintFlags: readonly TaintFlag[] = [
  flag(0, 'P', 'a proprietary module was loaded', 'harmless'),
  flag(1, 'F', 'a module was loaded by force', 'refuses'),
  flag(2, 'S', 'the processor runs out of its specification, or its registers were written from outside', 'warns'),
  flag(3, 'R', 'a module was unloaded by force', 'refuses'),
  flag(4, 'M', 'the processor reported a machine check exception', 'refuses'),
  flag(5, 'B', 'the kernel found a bad page or overwritten memory', 'refuses'),
  flag(6, 'U', 'a program asked for this flag', 'harmless'),
  flag(7, 'D', 'the kernel crashed since it was booted (oops or BUG)', 'refuses'),
  flag(8, 'A', 'an ACPI table was overridden', 'harmless'),
  flag(9, 'W', 'the kernel issued a warning', 'warns'),
  flag(10, 'C', 'a staging driver was loaded', 'harmless'),
  flag(11, 'I', 'a bug of the firmware is worked around', 'harmless'),
  flag(12, 'O', 'a module from outside the kernel’s tree was loaded', 'harmless'),
  flag(13, 'E', 'an unsigned module was loaded', 'harmless'),
  flag(14, 'L', 'a CPU was stuck in the kernel (soft lockup)', 'refuses'),
  flag(15, 'K', 'the kernel has been live patched', 'harmless'),
  flag(16, 'X', 'a flag of the distributor’s own', 'harmless'),
  flag(17, 'T', 'the kernel was built with randomised structures', 'harmless'),
  flag(18, 'N', 'a test inside the kernel was run', 'warns'),
];

function flag(bit: number, letter: string, meaning: string, weight: TaintWeight): TaintFlag {
  return { bit, letter, meaning, weight };
}

/**
 * `/proc/sys/kernel/tainted` as a number, bounded so that a shell counts it right too; `undefined` where it is none.
 */
export function taintMask(text: string): bigint | undefined {
  return /^\d{1,18}$/.test(text) ? BigInt(text) : undefined;
}

/** The flags in a mask, lowest bit first. Bits that are not in the table only warn. */
export function flagsOf(mask: bigint): readonly TaintFlag[] {
  const flags: TaintFlag[] = [];
  for (let bit = 0; bit < 64; bit += 1) {
    if (((mask >> BigInt(bit)) & 1n) === 0n) continue;
    flags.push(taintFlags[bit] ?? flag(bit, '?', `bit ${bit}, which is not known here`, 'warns'));
  }
  return flags;
}

/** The flags of a mask that bar a load, but for the letters that the owner accepted. */
export function refusingFlags(mask: bigint, accepted: readonly string[] = []): readonly TaintFlag[] {
  return flagsOf(mask).filter((it) => it.weight === 'refuses' && !accepted.includes(it.letter));
}
