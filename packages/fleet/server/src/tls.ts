import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { errorText } from '@kmend/base';
import { ServerError } from './error.ts';

/** Files in PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

export interface Tls {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** When the first certificate of the chain to expire does. */
  readonly expires: Date;
}

/** Reads certificate and key, and tries them together. Throws `tls-unusable`. */
export async function loadTls(files: TlsFiles): Promise<Tls> {
  try {
    const [cert, key] = [await readFile(files.cert), await readFile(files.key)];
    createSecureContext({ cert, key });
    return { cert, key, expires: expiryOf(cert.toString('latin1')) };
  } catch (cause) {
    throw new ServerError('tls-unusable', `certificate and key cannot be used: ${errorText(cause)}`, {
      cause,
      hint: `check ${files.cert} and ${files.key}: both in PEM, and the key must belong to the certificate`,
    });
  }
}

function expiryOf(chain: string): Date {
  const pems = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const times = pems.map((pem) => Date.parse(new X509Certificate(pem).validTo));
  return new Date(Math.min(...times));
}

/** The certificate that is in force, and a later one in its place. */
export class Certificate {
  readonly #files: TlsFiles;
  readonly #put: (tls: Tls) => void;
  #tls: Tls;

  constructor(files: TlsFiles, tls: Tls, put: (tls: Tls) => void) {
    this.#files = files;
    this.#tls = tls;
    this.#put = put;
  }

  get expires(): Date {
    return this.#tls.expires;
  }

  /**
   * Reads the files again: new connections get what is in them. Throws `tls-unusable`, and keeps the one
   * before.
   */
  async reload(): Promise<void> {
    const tls = await loadTls(this.#files);
    this.#put(tls);
    this.#tls = tls;
  }
}
