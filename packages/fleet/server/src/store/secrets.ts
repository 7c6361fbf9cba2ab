import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { sha256 } from '@kmend/base/node';

/** Crockford's base 32: no letters that are mistaken for digits. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** An activation key: 125 random bits, `kmend-xxxxx-xxxxx-xxxxx-xxxxx-xxxxx`. */
export function newActivationKey(): string {
  const symbols = [...randomBytes(25)].map((byte) => ALPHABET[byte & 31]).join('');
  return `kmend-${(symbols.match(/.{5}/g) ?? []).join('-')}`;
}

/** A bearer token: 256 random bits. */
export function newToken(prefix: string): string {
  return `${prefix}_${randomBytes(32).toString('base64url')}`;
}

/** How secrets are kept. They are random and long, so a plain SHA-256 cannot be guessed back. */
export function hashSecret(secret: string): string {
  return sha256(secret);
}

/** Compares in constant time, whatever the lengths. */
export function sameSecret(given: string, expected: string): boolean {
  return timingSafeEqual(createHash('sha256').update(given).digest(), createHash('sha256').update(expected).digest());
}
