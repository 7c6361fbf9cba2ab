import { errorCode, errorText } from '@kmend/base';
import type { Packages } from '../archive/archive.ts';
import type { PackageEntry } from '../archive/index.ts';
import { KernelError } from '../error.ts';
import { nearest } from './near.ts';

export const RELEASE = /^[0-9]+\.[A-Za-z0-9.+~-]*$/;

/** Which of a version's kernels a release is: `amd64`, `cloud-amd64`, `rt-amd64`. */
export function flavourOf(release: string): string {
  return /-((?:[a-z]+-)?amd64)$/.exec(release)?.[1] ?? '';
}

/**
 * The release that a suite's image of one version and flavour has: 6.1.176-1 is 6.1.0-50-amd64. `kernel-unknown` where
 * it has none.
 */
export async function releaseOf(archive: Packages, suite: string, version: string, flavour: string): Promise<string> {
  const releases = (await archive.packages(suite))
    .filter((entry) => entry.version === version)
    .map(({ name }) => /^linux-image-([0-9].*)$/.exec(name)?.[1] ?? '')
    .filter((release) => release !== '' && flavourOf(release) === flavour);
  const [found] = releases;
  if (found !== undefined) return found;
  throw new KernelError('kernel-unknown', `the suite ${suite} has no ${flavour} kernel of the version ${version}`, {
    hint: `name its release instead, as uname -r prints it, e.g.: ${suite}/6.1.0-50-amd64`,
  });
}

/** The package of a kernel's image; from the snapshot archive where the suite has dropped it. */
export async function findImage(
  archive: Packages,
  entries: readonly PackageEntry[],
  suite: string,
  release: string,
): Promise<PackageEntry> {
  const name = `linux-image-${release}`;
  // The last of a name is the newest: security and updates are read after the suite itself.
  // Debug symbols (`-dbg`) and unsigned images are no kernels of their own.
  const found = release.endsWith('-amd64') ? entries.filter((entry) => entry.name === name).at(-1) : undefined;
  if (found !== undefined) return found;
  const past = release.endsWith('-amd64') ? await newestOfThePast(archive, name) : { version: undefined, why: '' };
  if (past.version !== undefined) return await archive.find(suite, name, past.version);
  const releases = entries
    .map((entry) => /^linux-image-([0-9].*-amd64)$/.exec(entry.name)?.[1])
    .filter((text) => text !== undefined);
  const near = nearest(release, [...new Set(releases)]);
  throw new KernelError('kernel-unknown', `the suite ${suite} has no kernel ${release}${past.why}`, {
    hint:
      near.length > 0
        ? `kernels of ${suite} with similar names: ${near.join(', ')}`
        : 'kmend kernel add takes what uname -r prints on the host',
  });
}

/** Kernels that have left the suites; where the snapshot archive cannot be asked, the message says so. */
async function newestOfThePast(
  archive: Packages,
  name: string,
): Promise<{ readonly version: string | undefined; readonly why: string }> {
  try {
    return { version: await archive.newest(name), why: ', and the snapshot archive knows none' };
  } catch (error) {
    if (errorCode(error) !== 'archive-unreachable') throw error;
    return { version: undefined, why: `, and the snapshot archive cannot be asked: ${errorText(error)}` };
  }
}

/**
 * Since 7.x the image package is empty and depends on `linux-base-R`, `linux-binary-R` and `linux-modules-R` of its own
 * version.
 */
export function imageParts({ depends }: PackageEntry, release: string): string[] {
  return ['base', 'binary', 'modules']
    .map((part) => `linux-${part}-${release}`)
    .filter((name) => depends.split(/[,|]\s*/).some((one) => one.trim().split(' ')[0] === name));
}
