import { shownLine } from '@kmend/base';
import * as z from 'zod';

/** GNU build id of a kernel: 40 lower-case hex digits. */
export const BuildId = z.string().regex(/^[0-9a-f]{40}$/, 'a build id is 40 lower-case hex digits');
export type BuildId = z.infer<typeof BuildId>;

/** SHA-256, lower-case hex. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 is 64 lower-case hex digits');
export type Sha256 = z.infer<typeof Sha256>;

/** Kernel release as `uname -r` prints it; also safe as a path component. */
export const Release = z
  .string()
  .max(64)
  .regex(/^[0-9][A-Za-z0-9.+~_-]*$/, 'not a kernel release');
export type Release = z.infer<typeof Release>;

/** Name of a kernel object: `vmlinux` or a module as `/proc/modules` spells it (MODULE_NAME_LEN is 56 with the NUL). */
export const ObjectName = z
  .string()
  .max(55)
  .regex(/^[A-Za-z0-9_]+$/, 'not a kernel object name');

/** Id of a fix: a CVE or a name. */
export const FixId = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'a fix id has letters, digits, ".", "_" and "-" only');
export type FixId = z.infer<typeof FixId>;

/** Serial of a livepatch: counts up from 1 for each kernel; given out when it is published. */
export const Serial = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

export const Channel = z.enum(['canary', 'early', 'stable']);
export type Channel = z.infer<typeof Channel>;

/** ISO 8601 in UTC. */
export const Timestamp = z.iso.datetime();

/** Free text shown to people: bounded, one line. */
export const Line = z
  .string()
  .max(500)
  .regex(/^[^\n\r\0]*$/, 'one line');

/** Bytes of a name in UTF-8: as long as DNS allows one (RFC 1035, 2.3.4); Linux's own limit is 64. */
const MAX_HOSTNAME = 253;

/**
 * A host's name, which its administrator chooses and which may hold any bytes: made fit where it comes in, so that
 * lists, cursors and logs have a name that is bounded, equal where it looks equal, and one line. What cannot be shown
 * is U+FFFD; no name is `(none)`, as Linux says.
 */
export const Hostname = z.string().max(MAX_HOSTNAME).overwrite(hostname);

const utf8 = new TextEncoder();

function hostname(name: string): string {
  let fit = '';
  let bytes = 0;
  for (const character of shownLine(name.normalize('NFC')).trim()) {
    bytes += utf8.encode(character).length;
    if (bytes > MAX_HOSTNAME) break;
    fit += character;
  }
  return fit === '' ? '(none)' : fit;
}
