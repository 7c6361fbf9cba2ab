import { basename, dirname, join } from 'node:path/posix';

/**
 * Names inside a repository directory, relative to it: static files under `metadata/` and `targets/`, with consistent
 * snapshots (TUF specification 1.0.34, section 6.2): every name but `timestamp.json` is written once and never changed.
 */
export const TIMESTAMP_FILE = 'metadata/timestamp.json';

/** A versioned metadata file. */
export function metadataFile(role: string, version: number): string {
  return `metadata/${version}.${encodeURIComponent(role)}.json`;
}

/** A target's file: its SHA-256 before the base name. */
export function targetFile(targetPath: string, sha256: string): string {
  return join('targets', dirname(targetPath), `${sha256}.${basename(targetPath)}`);
}
