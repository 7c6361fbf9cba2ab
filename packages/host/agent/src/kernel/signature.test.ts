import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestKernel } from '../testing/kernel.ts';
import { assertMayLoad, signatureOf } from './signature.ts';

const MAGIC = '~Module signature appended~\n';
const CODE = Buffer.alloc(300, 0x90);

/** DER of a SEQUENCE of `length` content bytes; 200 and more need the long form of the length. */
function der(length: number): Buffer {
  const head = length < 0x80 ? [0x30, length] : [0x30, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 5)]);
}

/** A module signed as scripts/sign-file.c does, with what a test wants to be wrong about it. */
function signed(message = der(500), trailer: { type?: number; length?: number; hash?: number } = {}): Buffer {
  const block = Buffer.alloc(12);
  block[1] = trailer.hash ?? 0;
  block[2] = trailer.type ?? 2;
  block.writeUInt32BE(trailer.length ?? message.length, 8);
  return Buffer.concat([CODE, message, block, Buffer.from(MAGIC)]);
}

test('reads a signature as the kernel does', () => {
  assert.deepEqual(signatureOf(CODE), { kind: 'none' });
  assert.deepEqual(signatureOf(new Uint8Array()), { kind: 'none' });
  assert.deepEqual(signatureOf(signed()), { kind: 'pkcs7' });
  assert.deepEqual(signatureOf(signed(der(60))), { kind: 'pkcs7' });
  assert.deepEqual(signatureOf(signed(der(500), { type: 1 })), { kind: 'unsupported' });
  const kinds = [
    Buffer.from(MAGIC),
    Buffer.concat([Buffer.alloc(12), Buffer.from(MAGIC)]),
    signed(der(500), { length: CODE.length + 504 }),
    signed(der(500), { length: 0xffff_ffff }),
    signed(der(500), { hash: 4 }),
    signed(der(500).subarray(0, 499)),
    signed(der(60).subarray(0, 61)),
    signed(Buffer.alloc(0)),
    signed().subarray(CODE.length),
    signed(Buffer.alloc(500, 7)),
    signed(Buffer.from([0x30, 0x85, 1, 1, 1, 1, 1, 1])),
  ].map((module) => signatureOf(module).kind);
  assert.deepEqual(kinds, Array(11).fill('damaged'));
});

const BUILTIN = '2e6b5ff0 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 1\n';
const certificate = (subject: string, id: string): string =>
  `2b0f1d44 I------     1 perm 1f030000     0     0 asymmetri ${subject}: ${id}: X509.rsa ${id.slice(-8)} []\n`;
const NAMED = { signer: 'kmend modules', keyId: 'f2c4a1', hash: 'sha256' as const, unsigned: '0'.repeat(64) };

async function host(context: { after(f: () => unknown): void }, keys?: string, how = 'lockdown') {
  const kernel = await TestKernel.make();
  context.after(() => kernel.remove());
  if (how === 'lockdown') await kernel.write('/sys/kernel/security/lockdown', 'none [integrity] confidentiality\n');
  if (how === 'enforced') await kernel.write('/sys/module/module/parameters/sig_enforce', 'Y\n');
  if (keys !== undefined) await kernel.write('/proc/keys', keys);
  return kernel.edges();
}

test('refuses only a broken signature without enforcement', async (context) => {
  const edges = await host(context, BUILTIN + certificate('Debian', 'aa'), 'none');
  await assertMayLoad(edges, CODE);
  await assertMayLoad(edges, signed(), NAMED);
  await assertMayLoad(edges, signed(der(500), { type: 1 }));
  await assert.rejects(assertMayLoad(edges, signed(der(500), { hash: 4 })), { code: 'livepatch-damaged' });
  await assert.rejects(assertMayLoad(edges, CODE, NAMED), { code: 'livepatch-damaged' });
});

test('refuses a missing or foreign signature where one is required', async (context) => {
  for (const [how, code] of [
    ['lockdown', 'lockdown'],
    ['enforced', 'signature-required'],
  ] as const) {
    const edges = await host(context, undefined, how);
    await assert.rejects(assertMayLoad(edges, CODE), { code });
    await assert.rejects(assertMayLoad(edges, signed(der(500), { type: 1 })), { code });
    await assertMayLoad(edges, signed(), NAMED);
  }
});

test('refuses a signer that no listed key belongs to', async (context) => {
  for (const how of ['lockdown', 'enforced']) {
    const edges = await host(context, BUILTIN + certificate('Debian Secure Boot CA', 'aabb'), how);
    await assert.rejects(assertMayLoad(edges, signed(), NAMED), (error: { code?: string; details?: object }) => {
      assert.equal(error.code, 'signature-untrusted');
      const because = how === 'lockdown' ? 'lockdown' : 'signature-required';
      assert.deepEqual(error.details, {
        signer: 'kmend modules',
        keyId: 'f2c4a1',
        because,
        keys: ['Debian Secure Boot CA'],
      });
      return true;
    });
  }
});

test('finds a listed signer by serial number, by name, or by name behind its organisation', async (context) => {
  const fitting: readonly [string, string][] = [
    ['Someone', '00f2c4a1'],
    ['kmend modules', 'aabbcc'],
    ['Example Ltd: kmend modules', 'aabbcc'],
  ];
  for (const [subject, id] of fitting) {
    await assertMayLoad(await host(context, BUILTIN + certificate(subject, id)), signed(), NAMED);
  }
  const revoked = certificate('kmend modules', 'f2c4a1').replace('I------', 'IR-----');
  await assert.rejects(assertMayLoad(await host(context, BUILTIN + revoked), signed(), NAMED), {
    code: 'signature-untrusted',
  });
  const other = certificate('not kmend modules', 'f2c4a1ff');
  await assert.rejects(assertMayLoad(await host(context, BUILTIN + other), signed(), NAMED), {
    code: 'signature-untrusted',
  });
});

test('leaves the decision to the kernel where the key list is incomplete', async (context) => {
  const debian = certificate('Debian', 'aa');
  await assertMayLoad(await host(context), signed(), NAMED);
  await assertMayLoad(await host(context, debian), signed(), NAMED);
  await assertMayLoad(await host(context, BUILTIN), signed(), NAMED);
  await assertMayLoad(await host(context, BUILTIN + debian), signed());
  for (const signer of ['O=Example, C=DE', 'Schlüssel', 'x'.repeat(200)]) {
    await assertMayLoad(await host(context, BUILTIN + debian), signed(), { ...NAMED, signer });
  }
});
