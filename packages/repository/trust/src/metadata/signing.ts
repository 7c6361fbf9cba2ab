import { createHash } from 'node:crypto';
import type { Clock } from '@kmend/base';
import { MetaFile } from '@tufjs/models';
import type { Signable, SigningKey } from '../keys/key.ts';

/** Version of the TUF specification that new metadata claims (major 1 is what clients check). */
export const SPEC_VERSION = '1.0.34';

const DAY_MS = 86_400_000;

/** How long each role's signature holds, in days; docs/decisions/010 has the reasons. */
export const lifetimes = {
  root: 730,
  targets: 730,
  kernel: 730,
  policy: 7,
  snapshot: 7,
  timestamp: 1,
} as const;
export type Lifetime = keyof typeof lifetimes;

/** When metadata signed now expires: ISO 8601 in UTC without fractions (specification 1.0.34, section 4.2.1). */
export function expiry(role: Lifetime, clock: Clock): string {
  const at = new Date(clock.now().getTime() + lifetimeMs(role));
  return at.toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** Milliseconds that metadata of a role may hold from when it is signed. */
export function lifetimeMs(role: Lifetime): number {
  return lifetimes[role] * DAY_MS;
}

/** Two clocks that are right may still differ by this much. */
export const CLOCK_TOLERANCE_MS = 10 * 60_000;

/**
 * It would hold longer than its role may: it was signed by a clock that was ahead. A server that ran for a minute in
 * the wrong year would else have signed a timestamp that a mirror can serve, frozen, until then.
 */
export function isOverlong(role: Lifetime, expires: string | Date, clock: Clock): boolean {
  // An operator's laptop may be hours off, which is nothing in two years.
  const tolerance = lifetimes[role] > 7 ? DAY_MS : CLOCK_TOLERANCE_MS;
  return new Date(expires).getTime() - clock.now().getTime() > lifetimeMs(role) + tolerance;
}

/** Time to sign a role again: less than half of its life is left, or more than a whole one. */
export function needsSigning(role: Lifetime, expires: string, clock: Clock): boolean {
  const left = new Date(expires).getTime() - clock.now().getTime();
  return left < lifetimeMs(role) / 2 || isOverlong(role, expires, clock);
}

/** Replaces all signatures by those of `keys` and gives the file's text. */
export function signedText(
  metadata: Signable & { signatures: object; toJSON(): object },
  ...keys: SigningKey[]
): string {
  metadata.signatures = {};
  for (const key of keys) key.sign(metadata);
  return JSON.stringify(metadata.toJSON());
}

/** What timestamp and snapshot say of a metadata file: version, length and SHA-256, so that files cannot be mixed. */
export function metaFileOf(text: string, version: number): MetaFile {
  const bytes = Buffer.from(text);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return new MetaFile({ version, length: bytes.length, hashes: { sha256 } });
}
