import { patternOf } from './pattern.ts';

/** Modules of other live patch systems: two of them on one kernel undo or break each other. */
export const rivalModule = '^(kpatch|kpatch_.*|ksplice_.*|kcare|kernelcare|kmodlve_kcare|lkp_.*|livepatch_.*)$';

const RIVAL = patternOf(rivalModule);

export function isRivalModule(name: string): boolean {
  return RIVAL.test(name);
}
