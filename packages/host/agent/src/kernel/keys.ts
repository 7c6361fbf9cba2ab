import type { Edges } from '../edges/edges.ts';

/** A public key in the kernel, as `/proc/keys` lists it. */
export interface TrustedKey {
  /**
   * Organisation and common name of the certificate’s subject, as the kernel puts them together
   * (crypto/asymmetric_keys/x509_cert_parser.c).
   */
  readonly subject: string;
  /**
   * Subject key identifier, or serial number where the certificate has none; lower-case hex (x509_public_key.c,
   * x509_key_preparse).
   */
  readonly id: string;
  /** Neither revoked, dead, invalidated, negative nor expired. */
  readonly usable: boolean;
}

const LIMIT = 16_000_000;
/** The keyrings whose keys the kernel checks modules with: kernel/module/signing.c, certs/system_keyring.c. */
const TRUSTED = ['.builtin_trusted_keys', '.machine', '.platform'];
/**
 * security/keys/proc.c, proc_keys_show: serial, flags, usage, expiry, permissions, uid, gid, type cut to nine letters,
 * description.
 */
const KEY =
  /^[0-9a-f]{8} ([A-Za-z-]{7}) {1,6}\d+ {1,5}(\w+) [0-9a-f]{8} {1,6}-?\d+ {1,6}-?\d+ (asymmetri|keyring {2}) (.+)$/;
/**
 * crypto/asymmetric_keys/asymmetric_type.c, asymmetric_key_describe: `<subject>: <id>: X509.rsa <end of the identifier>
 * []`.
 */
const CERTIFICATE = /^(.{0,1000}): ([0-9a-f]{1,200}): [\w.-]{1,64}(?: [0-9a-f]{1,8})? \[\]$/;

/**
 * Every certificate that the kernel shows, whichever keyring it is in (the list does not say: so one that fits may be
 * trusted, and one that is missing is not). `undefined` where the list is not complete: unreadable, without the
 * kernel’s own keyring, or with fewer certificates than its trusted keyrings hold.
 */
export async function readKeys(edges: Edges): Promise<readonly TrustedKey[] | undefined> {
  const text = await edges.files.text('/proc/keys', LIMIT);
  return text === undefined ? undefined : keysOf(text);
}

/** Pure half. */
export function keysOf(text: string): readonly TrustedKey[] | undefined {
  const keys: TrustedKey[] = [];
  const held = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, flags = '', expiry, type, description = ''] = KEY.exec(line.slice(0, 2000)) ?? [];
    if (type === 'asymmetri') {
      const [, subject, id] = CERTIFICATE.exec(description) ?? [];
      if (subject !== undefined && id !== undefined) keys.push({ subject, id, usable: isUsable(flags, expiry) });
    } else if (type !== undefined) {
      const [, name, count] = /^(\.\w+): (\d{1,6}|empty)$/.exec(description) ?? [];
      if (name !== undefined) held.set(name, count === 'empty' ? 0 : Number(count));
    }
  }
  const [kernelsOwn] = TRUSTED;
  if (kernelsOwn === undefined || !held.has(kernelsOwn)) return undefined;
  const wanted = TRUSTED.reduce((sum, name) => sum + (held.get(name) ?? 0), 0);
  return keys.length < wanted ? undefined : keys;
}

/** Flags: instantiated, revoked, dead, in quota, under construction, negative, invalidated. */
function isUsable(flags: string, expiry: string | undefined): boolean {
  return flags.startsWith('I') && !/[RDUNi]/.test(flags.slice(1)) && expiry !== 'expd';
}
