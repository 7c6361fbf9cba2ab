import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Edges, errorText } from '@kmend/base';
import { runOk, sha256 } from '@kmend/base/node';
import type { Livepatch } from '@kmend/protocol';
import type { BuildResult } from '../assemble/builder.ts';
import { BuilderError } from '../error.ts';
import type { SigningKey } from './key.ts';

export type ModuleSignature = NonNullable<Livepatch['signature']>;

/** include/linux/module_signature.h: what a signed module ends with. */
const MAGIC = Buffer.from('~Module signature appended~\n', 'latin1');
const PKEY_ID_PKCS7 = 2;

/**
 * Signs a finished module as the kernel's scripts/sign-file does: a detached PKCS#7 message over all its bytes, without
 * attributes and certificates, `struct module_signature`, and the magic, behind the module. `sign-failed` with the
 * words of openssl.
 */
export async function signModule(
  edges: Pick<Edges, 'run' | 'signal'>,
  module: Uint8Array,
  key: SigningKey,
): Promise<{ readonly module: Uint8Array; readonly signature: ModuleSignature }> {
  if (Buffer.from(module.subarray(-MAGIC.length)).equals(MAGIC)) {
    throw new BuilderError('sign-failed', 'the module is signed already');
  }
  const message = await detachedMessage(edges, module, key);
  const trailer = Buffer.alloc(12);
  trailer[2] = PKEY_ID_PKCS7;
  trailer.writeUInt32BE(message.length, 8);
  return {
    module: Buffer.concat([module, message, trailer, MAGIC]),
    signature: { signer: key.signer, keyId: key.keyId, hash: 'sha256', unsigned: sha256(module) },
  };
}

/** DER of a CMS SignedData (RFC 5652). */
async function detachedMessage(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  module: Uint8Array,
  key: SigningKey,
): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-sign-'));
  try {
    const content = join(directory, 'module');
    await writeFile(content, module);
    const form = ['-binary', '-noattr', '-nocerts', '-nosmimecap', '-md', 'sha256', '-outform', 'DER'];
    // The passphrase goes from its file to openssl, through no argument and no environment.
    const secret = key.passphrase === undefined ? [] : ['-passin', `file:${key.passphrase}`];
    const args = ['cms', '-sign', ...form, '-in', content, '-signer', key.certificate, '-inkey', key.key, ...secret];
    return await runOk(run, 'openssl', args, { signal, timeoutMs: 60_000, maxOutput: 1 << 20 }).catch(
      (cause: unknown) => {
        throw new BuilderError('sign-failed', `the module cannot be signed: ${errorText(cause)}`, { cause });
      },
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The outcome of a build with its module signed; one without a module as it is. */
export async function signResult(
  edges: Pick<Edges, 'run' | 'signal'>,
  result: BuildResult,
  key: SigningKey,
): Promise<BuildResult> {
  const { manifest, module } = result;
  if (module === undefined || manifest.file === undefined) return result;
  const signed = await signModule(edges, module, key);
  const file = { name: manifest.file.name, sha256: sha256(signed.module), size: signed.module.length };
  return { manifest: { ...manifest, file, signature: signed.signature }, module: signed.module };
}
