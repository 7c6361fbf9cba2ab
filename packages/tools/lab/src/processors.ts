import { readSymbols } from '@kmend/kernel';
import type { LabKernel } from './boot-files.ts';
import type { Accelerator } from './qemu.ts';

/** Fewer would hide races. */
const USUAL = 2;

/**
 * Made `cond_resched()` look after livepatches (kernel/sched/core.c, 6.3 to 6.15 with PREEMPT_DYNAMIC): in each
 * transition the kernel rewrites some five thousand calls of its own.
 */
const REWRITES_ITSELF = 'sched_dynamic_klp_enable';

/**
 * How many processors a host has unless its caller names a number. One where an emulated kernel rewrites its code in
 * each transition: QEMU before 8.1 may keep a translation of what one processor has just changed, and 6.12.111 died
 * after a dozen transitions of a breakpoint that was gone. It also waits for the other processors fifteen thousand
 * times, half a minute in all when they are busy.
 */
export async function usualProcessors(kernel: Pick<LabKernel, 'paths'>, accelerator: Accelerator): Promise<number> {
  if (accelerator === 'kvm') return USUAL;
  return (await readSymbols(kernel)).has(REWRITES_ITSELF) ? 1 : USUAL;
}
