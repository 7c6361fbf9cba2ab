import { join } from 'node:path';
import { type Progress, silentProgress } from '@kmend/base';
import { run, systemClock } from '@kmend/base/node';
import { Archive, KernelStore, mirrors } from '@kmend/kernel';
import { Lab } from '@kmend/lab';

/** The lab and the kernels that its guests run, on this machine's own edges; both keep what they make in `cache`. The caller closes the lab. */
export function openLab(
  cache: string,
  signal: AbortSignal,
  progress: Progress = silentProgress,
): { readonly lab: Lab; readonly kernels: KernelStore } {
  const edges = { run, clock: systemClock, fetch, progress, signal };
  return {
    lab: new Lab({ run, clock: systemClock, progress, cache: join(cache, 'lab'), signal }),
    kernels: new KernelStore(edges, new Archive(edges, mirrors(process.env), cache), cache),
  };
}
