import { compareVersions } from '@kmend/kernel';
import type { LabKernel } from './boot-files.ts';
import type { Accelerator } from './qemu.ts';

/** Fewer would hide races. */
const USUAL = 2;

/** The first version whose code an emulated processor may miss a change of, as far as was seen. */
const FIRST_MISSED = '6.3';

/**
 * How many processors a host has unless its caller names a number. One where newer kernels are emulated: QEMU before
 * 8.1 may keep a translation of what another processor has just changed, and the guest dies of a breakpoint that is not
 * in memory any more. So did 6.12.111, which rewrites some five thousand calls of its own in each transition
 * (`sched_dynamic_klp_enable`, kernel/sched/core.c, 6.3 to 6.15), and 7.2.9, when the exercise of the network switched
 * static branches. Debian 12's 6.1 has not done so in the proofs and tests.
 */
export function usualProcessors({ release }: Pick<LabKernel, 'release'>, accelerator: Accelerator): number {
  return accelerator === 'kvm' || compareVersions(release, FIRST_MISSED) < 0 ? USUAL : 1;
}
