import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

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
  /** Letter in the kernel log; `?` for a bit that this agent does not know. */
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
 * - F, R: modules put in or taken out by force may have left wrong types or pointers to freed code behind
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

/** Flags that a host's owner may accept after having looked. Not D: nothing but a reboot mends a crashed kernel. */
export const AcceptedTaint = z.array(z.enum(['F', 'R', 'M', 'B', 'L'])).max(5);
export type AcceptedTaint = z.infer<typeof AcceptedTaint>;

export interface Taint {
  /** The kernel's own number, as it prints it. */
  readonly mask: string;
  readonly flags: readonly TaintFlag[];
  /** `/sys/kernel/oops_count` (kernel/exit.c); `null` where the kernel does not count. */
  readonly oopses: number | null;
}

/** The flags in a mask, lowest bit first. Bits that this agent does not know only warn. */
export function flagsOf(mask: bigint): readonly TaintFlag[] {
  const flags: TaintFlag[] = [];
  for (let bit = 0; bit < 64; bit += 1) {
    if (((mask >> BigInt(bit)) & 1n) === 0n) continue;
    flags.push(taintFlags[bit] ?? flag(bit, '?', `bit ${bit}, which this agent does not know`, 'warns'));
  }
  return flags;
}

/** Throws `kernel-unknown` where the kernel does not say. */
export async function readTaint(edges: Edges): Promise<Taint> {
  const mask = (await edges.files.text('/proc/sys/kernel/tainted'))?.trim();
  if (mask === undefined || !/^\d{1,20}$/.test(mask)) {
    throw new AgentError('kernel-unknown', 'the kernel does not say whether it is tainted (is /proc mounted?)');
  }
  const oopses = Number.parseInt((await edges.files.text('/sys/kernel/oops_count')) ?? '', 10);
  return { mask, flags: flagsOf(BigInt(mask)), oopses: Number.isSafeInteger(oopses) ? oopses : null };
}

/** Flags that stand in the way of a load, but for those the owner accepted. */
export function refusingFlags(taint: Taint, accepted: AcceptedTaint = []): readonly TaintFlag[] {
  const letters: readonly string[] = accepted;
  return taint.flags.filter((it) => it.weight === 'refuses' && !letters.includes(it.letter));
}

/** Throws `kernel-tainted` where the running kernel is not one that a livepatch should be put into. */
export async function assertSound(edges: Edges, accepted: AcceptedTaint = []): Promise<void> {
  const taint = await readTaint(edges);
  const refusing = refusingFlags(taint, accepted);
  if (refusing.length === 0) return;
  const letters = refusing.map((it) => it.letter);
  const crashed = letters.includes('D');
  const times = crashed && taint.oopses !== null && taint.oopses > 0 ? ` (${taint.oopses} since boot)` : '';
  const reasons = refusing.map((it) => `${it.meaning} (${it.letter})`).join('; ');
  throw new AgentError('kernel-tainted', `the running kernel is not sound: ${reasons}${times}`, {
    details: { tainted: taint.mask, letters, crashed, oopses: taint.oopses },
    hint: crashed
      ? 'nothing was loaded into a crashed kernel; see the kernel log, then reboot this host'
      : `see the kernel log, then reboot this host, or accept the flag once you know what it was ("acceptTaint": ["${letters.join('", "')}"])`,
  });
}
