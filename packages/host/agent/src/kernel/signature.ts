import type { Livepatch } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';
import { readKeys, type TrustedKey } from './keys.ts';

/** What a signed module ends with (include/linux/module_signature.h). */
const MAGIC = Buffer.from('~Module signature appended~\n', 'latin1');
/** struct module_signature: five bytes, three of padding, the length as big-endian word. */
const TRAILER = 12;
const PKCS7 = 2;
const DER_SEQUENCE = 0x30;

export type ModuleSignature =
  | { readonly kind: 'none' }
  | { readonly kind: 'pkcs7' }
  /** Of another kind than 6.1 knows (-ENOPKG): counts as unsigned there. */
  | { readonly kind: 'unsupported' }
  /** What the kernel refuses even where it takes unsigned modules (-EBADMSG). */
  | { readonly kind: 'damaged'; readonly why: string };

/** The signature appended to a module, by the checks of kernel/module/signing.c (mod_verify_sig) and kernel/module_signature.c. */
export function signatureOf(module: Uint8Array): ModuleSignature {
  const bytes = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  const end = bytes.length - MAGIC.length;
  if (end < 0 || !bytes.subarray(end).equals(MAGIC)) return { kind: 'none' };
  if (end <= TRAILER) return { kind: 'damaged', why: 'there is nothing before its trailer' };
  const trailer = bytes.subarray(end - TRAILER, end);
  const length = trailer.readUInt32BE(8);
  if (length >= end - TRAILER) return { kind: 'damaged', why: 'it says that it is longer than the file' };
  if (trailer[2] !== PKCS7) return { kind: 'unsupported' };
  if (trailer.subarray(0, 8).some((byte, index) => index !== 2 && byte !== 0)) {
    return { kind: 'damaged', why: 'its trailer has values that the kernel does not take' };
  }
  const message = bytes.subarray(end - TRAILER - length, end - TRAILER);
  return isWholeSequence(message) ? { kind: 'pkcs7' } : { kind: 'damaged', why: 'its PKCS#7 message is cut short' };
}

/** Whether DER of one SEQUENCE is all there (X.690, 8.1.3); the kernel's parser looks at the rest (lib/asn1_decoder.c). */
function isWholeSequence(der: Buffer): boolean {
  const [tag, first] = der;
  if (tag !== DER_SEQUENCE || first === undefined) return false;
  if (first < 0x80) return 2 + first <= der.length;
  const octets = first & 0x7f;
  if (octets === 0) return der.length > 4;
  if (octets > 4 || 2 + octets > der.length) return false;
  return 2 + octets + der.readUIntBE(2, octets) <= der.length;
}

/** Why the running kernel takes signed modules only; `undefined` where it takes others, or does not say. */
export async function signatureEnforcement(edges: Edges): Promise<AgentError | undefined> {
  const lockdown = await edges.files.text('/sys/kernel/security/lockdown');
  const mode = lockdown === undefined ? undefined : /\[(\w+)\]/.exec(lockdown)?.[1];
  if (mode !== undefined && mode !== 'none') {
    return new AgentError('lockdown', `the kernel is locked down (${mode}) and the livepatch has no module signature`, {
      details: { mode },
      hint: 'sign livepatches with a key that this kernel trusts, or boot without Secure Boot lockdown',
    });
  }
  const enforced = await edges.files.text('/sys/module/module/parameters/sig_enforce');
  if (enforced?.trim() !== 'Y') return undefined;
  return new AgentError('signature-required', 'the kernel loads only signed modules (module.sig_enforce)', {
    hint: 'sign livepatches with a key that this kernel trusts, or boot without module.sig_enforce=1',
  });
}

/**
 * Throws where the kernel would refuse this module for its signature: `livepatch-damaged` where the signature is broken (the kernel refuses
 * that even where it takes unsigned modules), `lockdown` or `signature-required` where there is none and one is asked for,
 * `signature-untrusted` where one is asked for and no key that the kernel lists is the signer's. Where the list cannot say, the kernel decides.
 * `named`: what the signed description says of the signature.
 */
export async function assertMayLoad(edges: Edges, module: Uint8Array, named?: Livepatch['signature']): Promise<void> {
  const signature = signatureOf(module);
  if (signature.kind === 'damaged') throw damaged(`the module’s signature is damaged: ${signature.why}`);
  if (signature.kind === 'none' && named !== undefined) {
    throw damaged('the module carries no signature, and its description names one');
  }
  const enforcement = await signatureEnforcement(edges);
  if (enforcement === undefined) return;
  if (signature.kind !== 'pkcs7') throw enforcement;
  if (named === undefined) return;
  const keys = await readKeys(edges);
  if (keys === undefined || !isTellingName(named.signer) || keys.some((key) => fits(key, named))) return;
  throw new AgentError(
    'signature-untrusted',
    `the kernel loads only modules signed with a key it trusts, and none of its ${keys.length} keys is that of ${named.signer} ` +
      `(certificate ${named.keyId})`,
    {
      details: {
        signer: named.signer,
        keyId: named.keyId,
        because: enforcement.code,
        keys: keys.slice(0, 32).map((it) => it.subject),
      },
      hint: 'enrol that certificate on this host (`mokutil --import`, then reboot), or sign livepatches with a key that is enrolled; see /proc/keys',
    },
  );
}

function damaged(message: string): AgentError {
  return new AgentError('livepatch-damaged', message, { hint: 'nothing was loaded; sign and publish it again' });
}

/**
 * The kernel lists a certificate by subject and key identifier, or by serial number where it has no such identifier; a module's signature names
 * issuer and serial number. So a serial that is there settles it, and without one the name must be there.
 */
function fits(key: TrustedKey, { signer, keyId }: { signer: string; keyId: string }): boolean {
  if (!key.usable) return false;
  return withoutZeros(key.id) === withoutZeros(keyId) || key.subject === signer || key.subject.endsWith(`: ${signer}`);
}

/** A serial with its highest bit set has a zero byte before it in DER. */
function withoutZeros(hex: string): string {
  return hex.replace(/^0+/, '');
}

/** A plain common name. Certificates without one, or with one in another encoding, the kernel lists in ways of its own. */
function isTellingName(signer: string): boolean {
  return /^[ -~]{1,199}$/.test(signer) && !/^[A-Za-z0-9.]+=/.test(signer);
}
