import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errorText } from '@kmend/base';
import { BuilderError } from '../error.ts';

export interface SigningKeyFiles {
  /** Private key, PEM: PKCS#8, PKCS#1 or SEC1, also encrypted. */
  readonly key: string;
  /** Certificate, PEM or DER; without it, one in the file of the key, as the kernel's own build keeps both. */
  readonly certificate?: string | undefined;
  /** Its first line opens the key. */
  readonly passphrase?: string | undefined;
}

/** An operator's key for modules, checked, by its files: what signs reads them itself. */
export interface SigningKey {
  /** Absolute paths. */
  readonly key: string;
  readonly certificate: string;
  readonly passphrase?: string;
  readonly signer: string;
  readonly keyId: string;
}

const FILE_LIMIT = 1 << 20;
/** What the kernel's own verification knows (crypto/asymmetric_keys, crypto/ecc_curve_defs.h). */
const CURVES = ['prime256v1', 'secp384r1'];

/**
 * Checks that key and certificate are there, closed to others, of a kind that kernels verify, and of each other.
 * Errors: `sign-key-unreadable`, `sign-key-exposed`, `sign-key-locked`, `sign-key-unsupported`, `sign-cert-unreadable`,
 * `sign-key-mismatch`.
 */
export async function openSigningKey(files: SigningKeyFiles): Promise<SigningKey> {
  const passphrase =
    files.passphrase === undefined
      ? undefined
      : (await readSecret(files.passphrase)).toString('utf8').split(/\r?\n/)[0];
  const pem = await readSecret(files.key);
  const key = parseKey(files.key, pem, passphrase);
  const kind = key.asymmetricKeyType;
  const details = key.asymmetricKeyDetails;
  const isUsable =
    (kind === 'rsa' && (details?.modulusLength ?? 0) >= 2048) ||
    (kind === 'ec' && CURVES.includes(details?.namedCurve ?? ''));
  if (!isUsable) {
    throw new BuilderError(
      'sign-key-unsupported',
      `kernels do not verify modules with the kind of key in ${files.key}`,
      {
        hint: 'use RSA with 2048 bits or more, or an EC key on P-256 or P-384',
      },
    );
  }
  const certificatePath = files.certificate ?? files.key;
  const certificate = await readCertificate(certificatePath, files.certificate === undefined ? pem : undefined);
  if (!certificate.checkPrivateKey(key)) {
    throw new BuilderError(
      'sign-key-mismatch',
      `${certificatePath} is not the certificate of the key in ${files.key}`,
      {
        hint: 'name the certificate that was made for this key with --sign-cert',
      },
    );
  }
  return {
    key: resolve(files.key),
    certificate: resolve(certificatePath),
    ...(files.passphrase === undefined ? {} : { passphrase: resolve(files.passphrase) }),
    signer: (/^CN=(.+)$/m.exec(certificate.subject)?.[1] ?? certificate.subject.replaceAll('\n', ', ')).slice(0, 200),
    keyId: certificate.serialNumber.toLowerCase(),
  };
}

async function readSecret(path: string): Promise<Buffer> {
  const { mode, bytes } = await readSmall(path).catch((error: unknown) => {
    throw new BuilderError('sign-key-unreadable', `${path} cannot be read: ${errorText(error)}`);
  });
  if ((mode & 0o077) !== 0) {
    throw new BuilderError('sign-key-exposed', `${path} can be read or changed by others than its owner`, {
      hint: `chmod 600 ${path}; if others may have read it, make another key`,
    });
  }
  return bytes;
}

async function readSmall(path: string): Promise<{ mode: number; bytes: Buffer }> {
  const found = await stat(path);
  if (!found.isFile() || found.size > FILE_LIMIT) throw new Error('it is not a file of a few kilobytes');
  return { mode: found.mode, bytes: await readFile(path) };
}

function parseKey(path: string, pem: Buffer, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (cause) {
    if (pem.includes('ENCRYPTED')) {
      throw new BuilderError('sign-key-locked', `the key in ${path} is encrypted, and no passphrase given opens it`, {
        cause,
        hint: 'name the file that holds it with --sign-passphrase-file',
      });
    }
    throw new BuilderError('sign-key-unreadable', `${path} holds no private key`, {
      cause,
      hint: 'give a PEM file',
    });
  }
}

async function readCertificate(path: string, known: Buffer | undefined): Promise<X509Certificate> {
  try {
    const bytes = known ?? (await readSmall(path)).bytes;
    // A file with a key in it is read from where the certificate begins.
    const at = bytes.indexOf('-----BEGIN CERTIFICATE-----');
    return new X509Certificate(at === -1 ? bytes : bytes.subarray(at));
  } catch (cause) {
    throw new BuilderError('sign-cert-unreadable', `${path} holds no certificate`, {
      cause,
      hint: 'name the certificate of the key with --sign-cert',
    });
  }
}
