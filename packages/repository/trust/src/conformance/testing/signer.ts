import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { canonicalize } from '@tufjs/canonical-json';

export type KeyType = 'ed25519' | 'ecdsa' | 'rsa';

export interface PublicKeyJson {
  keytype: string;
  scheme: string;
  keyval: { public: string };
  [more: string]: unknown;
}

/** A key as securesystemslib makes it: hex for Ed25519, PEM for the others; signatures in hex. */
export interface Signer {
  readonly keyid: string;
  readonly json: PublicKeyJson;
  sign(bytes: Buffer): string;
}

function keyPair(type: KeyType): { publicKey: KeyObject; privateKey: KeyObject; scheme: string; public: string } {
  if (type === 'ed25519') {
    const pair = generateKeyPairSync('ed25519');
    const { x } = pair.publicKey.export({ format: 'jwk' });
    return { ...pair, scheme: 'ed25519', public: Buffer.from(x ?? '', 'base64url').toString('hex') };
  }
  const pair =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const scheme = type === 'rsa' ? 'rsassa-pss-sha256' : 'ecdsa-sha2-nistp256';
  return { ...pair, scheme, public: pair.publicKey.export({ format: 'pem', type: 'spki' }).toString() };
}

/** `more` are members of the key that the specification does not know; they count for its id. */
export function newSigner(type: KeyType = 'ecdsa', more: Record<string, unknown> = {}): Signer {
  const { privateKey, scheme, public: value } = keyPair(type);
  const json: PublicKeyJson = { keytype: type, scheme, keyval: { public: value }, ...more };
  const padding =
    type === 'rsa' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {};
  return {
    keyid: createHash('sha256').update(canonicalize(json)).digest('hex'),
    json,
    sign: (bytes) => sign(type === 'ed25519' ? null : 'sha256', bytes, { key: privateKey, ...padding }).toString('hex'),
  };
}
