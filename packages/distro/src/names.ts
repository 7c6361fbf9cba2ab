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

function clean(word: string): string {
  return word.toLowerCase().replace(/[^a-z0-9.+-]/g, '-');
}
