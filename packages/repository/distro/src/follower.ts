import { sha256 } from '@kmend/base/node';
import type { Depot } from './depot/depot.ts';
import type { PackageFormat } from './loader-package.ts';
import { flavourOf, followerName, LOADER_PACKAGE, metapackageName } from './names.ts';
import type { Need, PackageSpec } from './package.ts';
import { canBeConditional } from './rpm.ts';

/**
 * Kernels of a flavour and series (6.1, 6.12) that a host gets livepatches of whether or not it has them: Debian's
 * packages cannot ask for one only beside another. Some months of uploads. A kernel that runs keeps its livepatches
 * beyond that, as apt keeps the kernel (docs/decisions/083-packages-follow-a-flavour.md).
 */
const WINDOW = 6;

const COPYRIGHT = 'This package contains nothing: it only depends on other packages.\n';

/** A flavour of kernels, and what is on offer for it. */
export interface Follower {
  readonly name: string;
  readonly flavour: string;
  /** Newest first. */
  readonly releases: readonly string[];
}

/** The flavours of some kernels, by name. */
export function followersOf(releases: readonly string[]): Follower[] {
  const flavours = new Map<string, string[]>();
  for (const release of releases) {
    const flavour = flavourOf(release);
    if (flavour !== undefined) flavours.set(flavour, [...(flavours.get(flavour) ?? []), release]);
  }
  return [...flavours]
    .map(([flavour, of]) => ({ name: followerName(flavour), flavour, releases: of.sort((a, b) => byNumbers(b, a)) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The package that depends on the livepatches of every kernel of a flavour that a host has, or will have. */
export async function followerPackage(depot: Depot, follower: Follower, format: PackageFormat): Promise<PackageSpec> {
  const { name, flavour, releases } = follower;
  const needs = { deb: needsOf(releases, () => false), rpm: needsOf(releases, canBeConditional) };
  // One serial for both formats.
  const { serial, at } = await depot.followerState(name, sha256(JSON.stringify(needs)));
  const [newest = ''] = releases;
  return {
    name,
    version: String(serial),
    architecture: 'amd64',
    licence: 'Apache-2.0',
    summary: `livepatches for Linux of the flavour ${flavour}`,
    description: [
      `Follows the kernels of the flavour ${flavour}: their livepatches are installed with them, and are there at the first boot of each.`,
      `The newest one known to this version is ${newest}.`,
    ],
    needs: [{ name: LOADER_PACKAGE }, ...needs[format]],
    replaces: [],
    takesOut: false,
    files: [{ path: `usr/share/doc/${name}/copyright`, mode: 0o644, content: { text: COPYRIGHT } }],
    scripts: {},
    changes: [
      { version: String(serial), at: new Date(at), lines: [`Follows ${releases.slice(0, WINDOW).join(', ')}`] },
    ],
    at: new Date(at),
  };
}

/** Newest kernel first: all whose package can be asked for beside the kernel alone, and of the others a window. */
function needsOf(releases: readonly string[], conditional: (release: string) => boolean): Need[] {
  const taken = new Map<string, number>();
  return releases.flatMap((release) => {
    const name = metapackageName(release);
    if (conditional(release)) return [{ name, beside: release }];
    const series = /^\d+(?:\.\d+)?/.exec(release)?.[0] ?? '';
    const count = (taken.get(series) ?? 0) + 1;
    taken.set(series, count);
    return count > WINDOW ? [] : [{ name }];
  });
}

/** Of one flavour only numbers differ. */
function byNumbers(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const difference = (left[index] ?? -1) - (right[index] ?? -1);
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : 1;
}

function numbersOf(release: string): number[] {
  return (release.match(/\d+/g) ?? []).map(Number);
}
