import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Run, RunOptions } from '@kmend/base';
import { limitedRun, run, runOk, sha256 } from '@kmend/base/node';
import { openSigningKey, type SigningKeyFiles } from './key.ts';
import { signModule } from './sign.ts';

const edges = { run: limitedRun, signal: new AbortController().signal };
const PASSPHRASE = 'a very secret passphrase';
const MAGIC = '~Module signature appended~\n';
let directory: string;
let module: Buffer;
const at = (name: string): string => join(directory, name);
const openssl = (...args: string[]): Promise<Buffer> => runOk(run, 'openssl', args);

/** A key of each kind that operators have, each with a certificate of its own. */
const kinds: Readonly<Record<string, readonly string[]>> = {
  'pkcs8-rsa': ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'pkcs1-rsa': ['genrsa', '-traditional', '2048'],
  'sec1-ec': ['ecparam', '-name', 'prime256v1', '-genkey', '-noout'],
  'pkcs8-ec': ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  ed25519: ['genpkey', '-algorithm', 'ED25519'],
  small: ['genrsa', '-traditional', '1024'],
};

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmend-sign-test-'));
  for (const [name, args] of Object.entries(kinds)) {
    await openssl(args[0] ?? '', '-out', at(`${name}.pem`), ...args.slice(1));
    await chmod(at(`${name}.pem`), 0o600);
    const request = ['req', '-new', '-x509', '-key', at(`${name}.pem`), '-subj', `/O=Test/CN=kmend test ${name}`];
    await openssl(...request, '-days', '3650', '-out', at(`${name}.crt`));
  }
  await writeFile(at('passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 });
  const locked = ['pkcs8', '-topk8', '-in', at('pkcs8-rsa.pem'), '-passout', `file:${at('passphrase')}`];
  await openssl(...locked, '-out', at('locked.pem'));
  await chmod(at('locked.pem'), 0o600);
  const object = at('module.ko');
  const source = 'static const char license[] __attribute__((section(".modinfo"), used)) = "license=GPL";';
  await runOk(run, 'gcc', ['-c', '-x', 'c', '-', '-o', object], { stdin: source });
  module = await readFile(object);
});
after(() => rm(directory, { recursive: true }));

const filesOf = (name: string): SigningKeyFiles => ({ key: at(`${name}.pem`), certificate: at(`${name}.crt`) });

interface Parsed {
  readonly content: Buffer;
  readonly message: Buffer;
}

/** As kernel/module_signature.c and kernel/module/signing.c take a signed module apart. */
function parse(signed: Uint8Array): Parsed {
  const bytes = Buffer.from(signed);
  const end = bytes.length - MAGIC.length;
  assert.equal(bytes.toString('latin1', end), MAGIC);
  const trailer = bytes.subarray(end - 12, end);
  const [algorithm, hash, type, signerLength, keyLength, ...pad] = trailer.subarray(0, 8);
  assert.deepEqual([algorithm, hash, type, signerLength, keyLength, pad], [0, 0, 2, 0, 0, [0, 0, 0]]);
  const start = end - 12 - trailer.readUInt32BE(8);
  return { content: bytes.subarray(0, start), message: bytes.subarray(start, end - 12) };
}

for (const name of ['pkcs8-rsa', 'pkcs1-rsa', 'sec1-ec', 'pkcs8-ec']) {
  test(`signs a module with a key of the kind ${name}, which openssl and modinfo read back`, async () => {
    const key = await openSigningKey(filesOf(name));
    const { module: signed, signature } = await signModule(edges, module, key);
    const { content, message } = parse(signed);
    assert.ok(content.equals(module));
    assert.equal(signature.unsigned, sha256(module));
    await writeFile(at('content'), content);
    await writeFile(at('message'), message);
    const verify = (content: string) =>
      run('openssl', [
        ...['cms', '-verify', '-binary', '-inform', 'DER', '-in', at('message'), '-content', content],
        ...['-certfile', at(`${name}.crt`), '-nointern', '-noverify', '-out', '/dev/null'],
      ]);
    assert.equal((await verify(at('content'))).exitCode, 0);
    await writeFile(at('other'), Buffer.concat([content, Buffer.from('x')]));
    assert.notEqual((await verify(at('other'))).exitCode, 0);
    // The kernel wants neither attributes nor certificates in it.
    const shown = (await openssl('cms', '-cmsout', '-print', '-inform', 'DER', '-in', at('message'))).toString();
    assert.match(shown, /certificates:\s+<ABSENT>/);
    assert.match(shown, /signedAttrs:\s+<ABSENT>/);
    await writeFile(at('signed.ko'), signed);
    const info = (await runOk(run, 'modinfo', [at('signed.ko')])).toString();
    const field = (what: string): string | undefined => new RegExp(`^${what}:\\s+(.*)$`, 'm').exec(info)?.[1];
    assert.deepEqual([field('sig_id'), field('signer'), field('sig_hashalgo')], ['PKCS#7', signature.signer, 'sha256']);
    assert.equal(field('sig_key')?.replaceAll(':', '').toLowerCase(), signature.keyId);
    assert.equal(signature.signer, `kmend test ${name}`);
  });
}

test('signs the same module to the same bytes with RSA, and does not sign a signed module again', async () => {
  const key = await openSigningKey(filesOf('pkcs8-rsa'));
  const first = await signModule(edges, module, key);
  assert.deepEqual(await signModule(edges, module, key), first);
  await assert.rejects(signModule(edges, first.module, key), { code: 'sign-failed' });
});

test('opens an encrypted key with its passphrase file, which nothing else reads', async () => {
  const locked = { key: at('locked.pem'), certificate: at('pkcs8-rsa.crt') };
  const seen: string[] = [];
  const watched: Run = (file, args, options: RunOptions = {}) => {
    seen.push(JSON.stringify([file, args, options.env, options.stdin]));
    return limitedRun(file, args, options);
  };
  const key = await openSigningKey({ ...locked, passphrase: at('passphrase') });
  const { module: signed } = await signModule({ ...edges, run: watched }, module, key);
  const plain = await signModule(edges, module, await openSigningKey(filesOf('pkcs8-rsa')));
  assert.deepEqual(signed, plain.module);
  assert.equal(seen.length, 1);
  assert.ok(!seen.join().includes(PASSPHRASE) && !JSON.stringify(key).includes(PASSPHRASE));
  await writeFile(at('wrong'), 'another\n', { mode: 0o600 });
  for (const files of [locked, { ...locked, passphrase: at('wrong') }]) {
    await assert.rejects(openSigningKey(files), { code: 'sign-key-locked' });
  }
});

test('reads key and certificate from one file, as the kernel keeps its own', async () => {
  const both = Buffer.concat([await readFile(at('sec1-ec.pem')), await readFile(at('sec1-ec.crt'))]);
  await writeFile(at('both.pem'), both, { mode: 0o600 });
  const key = await openSigningKey({ key: at('both.pem') });
  assert.equal(key.signer, 'kmend test sec1-ec');
  parse((await signModule(edges, module, key)).module);
});

test('rejects unusable keys and certificates by code', async () => {
  await writeFile(at('garbage.pem'), 'no key\n', { mode: 0o600 });
  await writeFile(at('open.pem'), await readFile(at('pkcs8-rsa.pem')));
  await chmod(at('open.pem'), 0o640);
  await writeFile(at('open-passphrase'), PASSPHRASE);
  await chmod(at('open-passphrase'), 0o644);
  const sound = filesOf('pkcs8-rsa');
  const cases: [code: string, files: SigningKeyFiles][] = [
    ['sign-key-unreadable', { ...sound, key: at('absent.pem') }],
    ['sign-key-unreadable', { ...sound, key: directory }],
    ['sign-key-unreadable', { ...sound, key: at('garbage.pem') }],
    ['sign-key-exposed', { ...sound, key: at('open.pem') }],
    ['sign-key-exposed', { ...sound, key: at('locked.pem'), passphrase: at('open-passphrase') }],
    ['sign-key-unsupported', filesOf('ed25519')],
    ['sign-key-unsupported', filesOf('small')],
    ['sign-key-mismatch', { ...sound, certificate: at('pkcs1-rsa.crt') }],
    ['sign-cert-unreadable', { ...sound, certificate: at('absent.crt') }],
    ['sign-cert-unreadable', { ...sound, certificate: at('garbage.pem') }],
    ['sign-cert-unreadable', { key: sound.key }],
  ];
  for (const [code, files] of cases) await assert.rejects(openSigningKey(files), { code }, JSON.stringify(files));
});
