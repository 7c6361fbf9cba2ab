import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A real OpenPGP key that is thrown away with the test. */
export class TestKey {
  readonly #home = mkdtempSync(join(tmpdir(), 'kmend-gpg-'));
  readonly #at: readonly string[];
  readonly #made = new Map<string, Buffer>();
  readonly publicKey: Buffer;

  /** `at`: when it is made, and signs (gpg's notation); it expires after `life`. */
  constructor(name: string, at?: string, life = 'never') {
    this.#at = at === undefined ? [] : ['--faked-system-time', at];
    this.#gpg('--quick-gen-key', `${name} <${name}@example.org>`, 'ed25519', 'sign', life);
    this.publicKey = this.#gpg('--export');
  }

  /** Detached binary signature; made once for the same data. */
  sign(data: string, ...options: string[]): Buffer {
    const key = [data, ...options].join('\0');
    const signature = this.#made.get(key) ?? this.#sign(data, options);
    this.#made.set(key, signature);
    return signature;
  }

  #sign(data: string, options: readonly string[]): Buffer {
    const file = join(this.#home, 'data');
    const out = join(this.#home, 'data.sig');
    rmSync(out, { force: true });
    writeFileSync(file, data);
    this.#gpg(...options, '--output', out, '--detach-sign', file);
    return readFileSync(out);
  }

  /** The public key with its revocation. */
  revoked(): Buffer {
    const [, fingerprint = ''] = /^fpr:+([0-9A-F]+):/m.exec(this.#gpg('--with-colons', '--list-keys').toString()) ?? [];
    const certificate = readFileSync(join(this.#home, `openpgp-revocs.d/${fingerprint}.rev`), 'utf8');
    const file = join(this.#home, 'revocation');
    writeFileSync(file, certificate.replace(/^:---/m, '---'));
    this.#gpg('--import', file);
    return this.#gpg('--export');
  }

  #gpg(...args: string[]): Buffer {
    const always = [
      '--homedir',
      this.#home,
      '--batch',
      '--quiet',
      '--yes',
      '--pinentry-mode',
      'loopback',
      '--passphrase',
      '',
    ];
    return execFileSync('gpg', [...always, ...this.#at, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  }

  remove(): void {
    execFileSync('gpgconf', ['--homedir', this.#home, '--kill', 'all'], { stdio: 'ignore' });
    rmSync(this.#home, { recursive: true, force: true });
  }
}
