import { flagsOf, refusingFlags, type TaintFlag, taintMask } from '@kmend/rules';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

/** Flags that a host's owner may accept after having looked. Not D: only a reboot repairs a crashed kernel. */
export const AcceptedTaint = z.array(z.enum(['F', 'R', 'M', 'B', 'L'])).max(5);
export type AcceptedTaint = z.infer<typeof AcceptedTaint>;

export interface Taint {
  /** The kernel's own number, as it prints it. */
  readonly mask: string;
  readonly flags: readonly TaintFlag[];
  /** `/sys/kernel/oops_count` (kernel/exit.c); `null` where the kernel does not count. */
  readonly oopses: number | null;
}

/** Throws `kernel-unknown` where the kernel does not say. */
export async function readTaint(edges: Edges): Promise<Taint> {
  const text = (await edges.files.text('/proc/sys/kernel/tainted'))?.trim() ?? '';
  const mask = taintMask(text);
  if (mask === undefined) {
    throw new AgentError('kernel-unknown', 'the kernel does not say whether it is tainted (is /proc mounted?)');
  }
  const oopses = Number.parseInt((await edges.files.text('/sys/kernel/oops_count')) ?? '', 10);
  return { mask: text, flags: flagsOf(mask), oopses: Number.isSafeInteger(oopses) ? oopses : null };
}

/** Throws `kernel-tainted` where the running kernel is not one that a livepatch should be put into. */
export async function assertSound(edges: Edges, accepted: AcceptedTaint = []): Promise<void> {
  const taint = await readTaint(edges);
  const refusing = refusingFlags(BigInt(taint.mask), accepted);
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
