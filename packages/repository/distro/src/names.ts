/** Names of packages: what Debian and RPM both take, lower case (Debian policy 5.6.1). */

export const LOADER_PACKAGE = 'kmend-livepatch';

/** Where packages put livepatches; the loader looks nowhere else. */
export const LIVEPATCH_FOLDER = 'usr/lib/kmend-livepatch';

/** The keyring that the loader verifies manifests against. */
export const KEYRING_PATH = 'usr/share/kmend-livepatch/packages.gpg';

/** The package that follows the newest state of a kernel; the one a person installs. */
export function metapackageName(release: string): string {
  return `livepatch-${clean(release)}`;
}

export function stackedName(release: string, fix: string): string {
  return `${metapackageName(release)}-${clean(fix)}`;
}

export function cumulativeName(release: string): string {
  return `${metapackageName(release)}-cumulative`;
}

/**
 * `cloud-amd64` of `6.1.0-47-cloud-amd64`, `x86_64+rt` of `5.14.0-70.el9.x86_64+rt`; `undefined` where a release names
 * none.
 */
export function flavourOf(release: string): string | undefined {
  const rpm = /\.(x86_64(?:\+[A-Za-z0-9._-]+)?)$/.exec(release)?.[1];
  if (rpm !== undefined) return rpm;
  const words = release.split('-');
  // A candidate's number is no flavour: 6.12-rc6-amd64.
  const first = words.findIndex((word, index) => index > 0 && /^[A-Za-z]/.test(word) && !/^rc\d/.test(word));
  return first < 0 ? undefined : words.slice(first).join('-');
}

/** The package that follows the newest kernels of a flavour. No release is called like it: they begin with a digit. */
export function followerName(flavour: string): string {
  return `livepatch-${clean(flavour)}`;
}

function clean(word: string): string {
  return word.toLowerCase().replace(/[^a-z0-9.+-]/g, '-');
}
