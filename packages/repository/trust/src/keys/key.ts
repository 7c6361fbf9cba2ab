import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { PublicKey } from '@kmend/protocol';
import { canonicalize } from '@tufjs/canonical-json';
import { Signature } from '@tufjs/models';
import * as z from 'zod';
import { TrustError } from '../error.ts';

/** A private key in memory. */
export interface SigningKey {
  /** SHA-256 of the canonical form of the public key. */
  readonly id: string;
  readonly public: PublicKey;
  sign(metadata: Signable): void;
}

export interface Signable {
  sign(signer: (data: Buffer) => Signature, append?: boolean): void;
}

/** What a key file holds, as JSON: readable by people, and by another TUF tool after a glance. */
const KeyFile = z.object({
  schema: z.literal('kmend.key/1'),
  role: z.string().max(64),
  id: z.string().regex(/^[0-9a-f]{64}$/),
  public: PublicKey,
  /** PKCS#8 in PEM. */
  private: z.string().max(2000),
});

export function keyId(key: PublicKey): string {
  return createHash('sha256').update(canonicalize(key)).digest('hex');
}

function publicOf(key: KeyObject): PublicKey {
  // The last 32 bytes of an Ed25519 SubjectPublicKeyInfo are the key itself (RFC 8410, section 4).
  const raw = createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32);
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: raw.toString('hex') } };
}

function signingKey(key: KeyObject): SigningKey {
  const publicKey = publicOf(key);
  const id = keyId(publicKey);
  return {
    id,
    public: publicKey,
    sign: (metadata) =>
      metadata.sign((data) => new Signature({ keyID: id, sig: sign(null, data, key).toString('hex') }), true),
  };
}

/** A new key: what to sign with, and the text of its file. */
export function generateKey(role: string): { readonly key: SigningKey; readonly file: string } {
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = signingKey(privateKey);
  const file: z.infer<typeof KeyFile> = {
    schema: 'kmend.key/1',
    role,
    id: key.id,
    public: key.public,
    private: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  return { key, file: `${JSON.stringify(file, undefined, 2)}\n` };
}

/** Reads the text of a key file; the public half in it must belong to the private one. */
export function parseKey(text: string, role: string, name: string): SigningKey {
  try {
    const file = KeyFile.parse(JSON.parse(text));
    if (file.role !== role) throw new Error(`it is the ${file.role} key`);
    const privateKey = createPrivateKey(file.private);
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error('it is not an Ed25519 key');
    const key = signingKey(privateKey);
    if (key.id !== file.id) throw new Error('its id does not fit its content');
    return key;
  } catch (cause) {
    // The parser's own message may quote the content, so only its kind is told.
    const why =
      cause instanceof z.ZodError || cause instanceof SyntaxError ? 'it is malformed' : (cause as Error).message;
    throw new TrustError('key-damaged', `${name} is not a usable ${role} key: ${why}`, {
      hint: 'restore it from its backup (docs/trust.md, "Backup")',
    });
  }
}
