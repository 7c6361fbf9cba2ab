import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Run } from '@kmend/base';
import { cleanEnvironment, exists, runOk, writeFileAtomic } from '@kmend/base/node';
import { DistroError } from './error.ts';
import { epochSeconds, oneLine } from './text.ts';

/** The operator's key in use, in a folder of its own that is removed afterwards. */
export interface Signer {
  /** 40 hex digits. */
  readonly fingerprint: string;
  /** The public key, binary. */
  readonly publicKey: Buffer;
  /** It and the earlier ones, binary: what gpgv reads. */
  readonly keyring: Buffer;
  /** The same in ASCII armour. */
  readonly keyringText: string;
  /** Environment of a program that signs with the key by itself (rpmsign). */
  readonly environment: Readonly<Record<string, string>>;
  /** Arguments that make gpg sign as of a time. */
  at(time: Date): readonly string[];
  /** A detached signature: binary, or in ASCII armour. */
  detached(data: string | Uint8Array, time: Date, form?: 'binary' | 'text'): Promise<Buffer>;
  /** The text with its signature around it. */
  inline(text: string, time: Date): Promise<Buffer>;
}

export interface KeyFiles {
  /** The secret key as `gpg --export-secret-keys` writes it, mode 0600. */
  readonly keyFile: string;
  /** A file whose first line is the passphrase, if the key has one. */
  readonly passphraseFile?: string | undefined;
}

export interface SignerOptions extends KeyFiles {
  /** Public keys that signed before this one and are believed still. */
  readonly earlier?: readonly Uint8Array[];
}

export interface NewKey {
  readonly keyFile: string;
  /** Whom hosts see as the signer. */
  readonly name: string;
  readonly email: string;
  /** Default RSA with 4096 bits: every gpgv, apt and rpm in use takes it; Ed25519 is refused by rpm before 4.16. */
  readonly algorithm?: 'rsa4096' | 'ed25519';
  readonly time: Date;
}

/**
 * Makes a key without a passphrase and writes it with mode 0600. Throws `key-exists`, `key-invalid` (the name). Returns
 * the fingerprint.
 */
export async function createKey(
  run: Run,
  { keyFile, name, email, algorithm = 'rsa4096', time }: NewKey,
): Promise<string> {
  if (await exists(keyFile)) {
    throw new DistroError('key-exists', `${keyFile} exists already; keys are never overwritten`);
  }
  if (oneLine(name) !== name || /[<>()@]/.test(name) || !/^[^\s<>@]+@[^\s<>@]+$/.test(email)) {
    throw new DistroError('key-invalid', 'a key needs a name and an address: "Example Fleet", packages@example.org');
  }
  return await withHome(run, async (gpg) => {
    // The time of what is signed with it later may not lie before this.
    await gpg([
      '--faked-system-time',
      `${epochSeconds(time)}!`,
      '--passphrase',
      '',
      '--quick-generate-key',
      `${name} <${email}>`,
      algorithm,
      'sign',
      'never',
    ]);
    const secret = await gpg(['--armor', '--export-secret-keys']);
    await writeFileAtomic(keyFile, secret, 0o600);
    return (await describe(gpg)).fingerprint;
  });
}

/**
 * Does `work` with the operator's key in a throw-away GNUPGHOME. Throws `key-missing`, `key-readable` (by others),
 * `key-invalid` (no secret key in it, several, a passphrase that does not open it, or bound by SHA-1).
 */
export async function withSigner<T>(run: Run, files: SignerOptions, work: (signer: Signer) => Promise<T>): Promise<T> {
  const secret = await readSecret(files.keyFile);
  if (files.passphraseFile !== undefined) await readSecret(files.passphraseFile);
  return await withHome(run, async (gpg, home) => {
    if (files.passphraseFile !== undefined) {
      await appendFile(join(home, 'gpg.conf'), `passphrase-file ${resolve(files.passphraseFile)}\n`);
    }
    await gpg(['--import'], secret).catch((cause: Error) => {
      throw new DistroError('key-invalid', `${files.keyFile} is not a secret key: ${cause.message}`, { cause });
    });
    const { fingerprint, created } = await describe(gpg);
    // A signature from before its key is not believed.
    const at = (time: Date): readonly string[] => ['--faked-system-time', `${Math.max(epochSeconds(time), created)}!`];
    const sign = async (args: readonly string[], data: string | Uint8Array): Promise<Buffer> => await gpg(args, data);
    await sign([...at(new Date(0)), '--detach-sign'], 'trial').catch((cause: Error) => {
      throw new DistroError('key-invalid', `${files.keyFile} cannot sign: ${cause.message}`, {
        cause,
        hint: 'give a file whose first line is the passphrase',
      });
    });
    const publicKey = await gpg([...EXPORT, fingerprint]);
    await requireStrongBinding(gpg, publicKey, { fingerprint, keyFile: files.keyFile });
    for (const key of files.earlier ?? []) await gpg(['--import'], key);
    return await work({
      fingerprint,
      publicKey,
      keyring: await gpg(EXPORT),
      keyringText: (await gpg(['--armor', '--no-emit-version', ...EXPORT])).toString(),
      environment: { ...cleanEnvironment(), GNUPGHOME: home },
      at,
      detached: async (data, time, form = 'binary') =>
        await sign([...at(time), ...(form === 'text' ? ['--armor'] : []), '--detach-sign'], data),
      inline: async (text, time) => await sign([...at(time), '--clearsign'], text),
    });
  });
}

const EXPORT = ['--export-options', 'export-minimal', '--export'];

type Gpg = (args: readonly string[], stdin?: string | Uint8Array) => Promise<Buffer>;

async function withHome<T>(run: Run, work: (gpg: Gpg, home: string) => Promise<T>): Promise<T> {
  // Short: gpg-agent's socket lies in it, and its path has 107 bytes.
  const home = await mkdtemp(join(tmpdir(), 'kmend-gpg-'));
  const env = { ...cleanEnvironment(), GNUPGHOME: home };
  try {
    // No window asks for a passphrase.
    await writeFile(join(home, 'gpg.conf'), 'pinentry-mode loopback\n');
    return await work(
      async (args, stdin = '') =>
        await runOk(
          run,
          'gpg',
          ['--batch', '--quiet', '--no-tty', '--no-auto-check-trustdb', '--digest-algo', 'SHA512', ...args],
          { env, stdin },
        ),
      home,
    );
  } finally {
    await run('gpgconf', ['--kill', 'all'], { env });
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function describe(gpg: Gpg): Promise<{ fingerprint: string; created: number }> {
  const lines = (await gpg(['--with-colons', '--list-secret-keys']))
    .toString()
    .split('\n')
    .map((line) => line.split(':'));
  const keys = lines.filter(([type]) => type === 'sec');
  // Fields 6 and 10 (GnuPG, doc/DETAILS): when it was made, and of `fpr` the fingerprint.
  const created = Number(keys[0]?.[5]);
  const fingerprint = lines.find(([type]) => type === 'fpr')?.[9];
  if (keys.length !== 1 || fingerprint === undefined || !Number.isInteger(created)) {
    throw new DistroError('key-invalid', `${keys.length} secret keys where one is needed`);
  }
  return { fingerprint, created };
}

/** Digests that nothing new is to be bound by: MD5, SHA-1, RIPEMD-160 (RFC 4880, 9.4). */
const WEAK_DIGESTS: ReadonlySet<string> = new Set(['1', '2', '3']);

/**
 * What binds a key to its name must not be by a weak digest alone, whatever the key signs with: gpgv and apt on Debian
 * 12 take such a key, sqv, which apt on Debian 13 uses, does not since February 2026.
 */
async function requireStrongBinding(
  gpg: Gpg,
  publicKey: Uint8Array,
  { fingerprint, keyFile }: { readonly fingerprint: string; readonly keyFile: string },
): Promise<void> {
  const packets = (await gpg(['--list-packets'], publicKey)).toString();
  // Certifications of a user id, and signatures on the key itself (RFC 4880, 5.2.1).
  const digests = [...packets.matchAll(/sigclass 0x1[0-3f]\n\tdigest algo (\d+)/g)].map(([, digest = '']) => digest);
  if (digests.some((digest) => !WEAK_DIGESTS.has(digest))) return;
  throw new DistroError(
    'key-invalid',
    `${keyFile}: the key is bound by SHA-1 or older, which apt on Debian 13 rejects`,
    {
      hint: `in the keyring it comes from: gpg --cert-digest-algo SHA512 --quick-set-expire ${fingerprint} 10y; then export it again`,
    },
  );
}

async function readSecret(path: string): Promise<Buffer> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new DistroError('key-readable', `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`, {
        hint: `chmod 600 ${path}, and check whether it was copied`,
      });
    }
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof DistroError) throw cause;
    throw new DistroError('key-missing', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
