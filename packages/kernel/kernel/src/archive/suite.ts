/** The suite that a part of the archive belongs to: `trixie` for `trixie-backports`, `bookworm` for itself. */
export function baseSuite(suite: string): string {
  return suite.replace(/-(?:security|updates|proposed-updates|backports|backports-sloppy)$/, '');
}
