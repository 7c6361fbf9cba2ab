import { compareVersions, type Kernel, type KernelImage } from '@kmend/kernel';
import type { UnitRequest } from '../assemble/request.ts';
import type { Fix } from '../fix/model.ts';

/** The fixed kernels that there are. */
export interface FixedKernels {
  /** The image of a version or release, of the same flavour as the release `like`. */
  find(name: string, like: string): Promise<KernelImage | undefined>;
}

/** Which version of the distribution's kernel a unit is compared with. */
export interface Choice {
  readonly name: string;
  readonly suite: string;
}

/**
 * The version that the newest fix of a unit came from: it holds those of all before it. `undefined` where no fix of the
 * unit names a version. `wanted`: what was asked for instead, a version or a release.
 */
export function choiceOf(
  kernel: Kernel,
  request: UnitRequest,
  fixes: readonly Fix[],
  wanted: string | undefined,
): Choice | undefined {
  if (wanted !== undefined) return { name: wanted, suite: kernel.suite };
  const paths = new Set([request.unit.source, ...request.patched.headers.keys()]);
  let newest: Choice | undefined;
  for (const { origin, files } of fixes) {
    if (origin.kind !== 'debian' || !files.some((path) => paths.has(path))) continue;
    if (newest === undefined || compareVersions(origin.to, newest.name) > 0)
      newest = { name: origin.to, suite: origin.suite };
  }
  return newest;
}

/** How to get the image of a choice. */
export function howToAdd({ name, suite }: Choice, flavour: string): string {
  const spec = name.endsWith('amd64') || flavour === 'amd64' ? name : `${name}/${flavour}`;
  return `kmend kernel add --image-only ${suite}/${spec}`;
}
