import { type Progress, silentProgress } from '@kmend/base';
import { places, run, systemClock } from '@kmend/base/node';
import type { KernelStore } from '@kmend/kernel';
import type { Lab } from '@kmend/lab';
import { Workshop } from '@kmend/pipeline';
import { openLab as openLabOf } from '@kmend/pipeline/lab';

/** A workshop on this machine's own edges, for benches and tests. */
export function openWorkshop(
  signal: AbortSignal,
  progress: Progress = silentProgress,
  where: { readonly cache?: string } = {},
): Workshop {
  return new Workshop({ run, clock: systemClock, fetch, progress, signal }, { ...places(), ...where }, process.env);
}

/**
 * The lab and the kernels that its guests run, on this machine's own edges; both keep what they make in `cache`. The
 * caller closes the lab.
 */
export function openLab(
  cache: string,
  signal: AbortSignal,
  progress: Progress = silentProgress,
): { readonly lab: Lab; readonly kernels: KernelStore } {
  const workshop = openWorkshop(signal, progress, { cache });
  return { lab: openLabOf(workshop), kernels: workshop.kernels };
}
