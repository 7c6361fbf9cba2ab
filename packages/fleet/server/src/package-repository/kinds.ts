import { basename, extname } from 'node:path';
import type { PackageFormat } from '@kmend/protocol/packages';

/** Never changes under its name: a package's version is published once, the others are named by their content. */
export function isImmutable(format: PackageFormat, path: string): boolean {
  if (format === 'apt') return path.startsWith('pool/') || path.includes('/by-hash/');
  return path.endsWith('.rpm') || /^repodata\/[0-9a-f]{64,128}-/.test(path);
}

const TYPES: Readonly<Record<string, string>> = {
  '.deb': 'application/vnd.debian.binary-package',
  '.rpm': 'application/x-rpm',
  '.gz': 'application/gzip',
  '.xz': 'application/x-xz',
  '.zst': 'application/zstd',
  '.bz2': 'application/x-bzip2',
  '.xml': 'application/xml',
  '.asc': 'text/plain; charset=utf-8',
  '.key': 'text/plain; charset=utf-8',
  '.gpg': 'application/pgp-keys',
  '.sqlite': 'application/vnd.sqlite3',
};

/** Names without an extension that are text: indices of APT, and changelogs. */
const TEXTS = /^(InRelease|Release|Packages|Contents-\w+|.+_changelog)$/;

/** Content type of a file; compressed ones are sent as what they are, never as an encoding of something else. */
export function contentType(path: string): string {
  const name = basename(path);
  if (TEXTS.test(name)) return 'text/plain; charset=utf-8';
  return (path.includes('/by-hash/') ? undefined : TYPES[extname(name)]) ?? 'application/octet-stream';
}
